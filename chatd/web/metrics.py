"""`/metrics`, for Prometheus. Whoever may not read it is told that there is nothing."""

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseNotFound
from django.views.decorators.csrf import csrf_exempt

from chatd.turns.scrape import CONTENT_TYPE, exposition, may_scrape


@csrf_exempt  # so that a refusal looks the same for every method
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics of this machine's processes."""
    address = request.META.get("REMOTE_ADDR", "")
    if not may_scrape(address, request.headers.get("Authorization", "")):
        return HttpResponseNotFound("Not found", content_type="text/plain")
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    return HttpResponse(
        exposition(), content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"}
    )
