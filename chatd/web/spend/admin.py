"""The page of what was spent: over time, by whom and on what, down to the rows of the ledger."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.urls import URLPattern, path

from chatd.accounts.models import User
from chatd.core.action_admin import PageAdmin
from chatd.core.clock import now
from chatd.core.errors import bad_request
from chatd.spending.models import Spend
from chatd.web.spend.export import csv_lines, csv_response
from chatd.web.spend.page import context_of
from chatd.web.spend.query import read_query


class SpendAdmin(PageAdmin[Spend]):
    template = "admin/spend.html"

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("csv/", export, name="spend_csv"), *super().get_urls()]

    def may_change(self, request: HttpRequest) -> bool:
        """Tell whether limits may be set here; the ledger itself is never changed."""
        return request.user.has_perm("spending.change_usagelimitconfig")

    def page(self, request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        assert isinstance(request.user, User)
        context = context_of(request.user, read_query(request.GET.dict()))
        return self.render(request, "Spend", context)

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Send the whole table of the page as CSV. Raises ChatdError 400."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        assert isinstance(request.user, User)
        query = read_query(request.GET.dict())
        if query.problem:
            raise bad_request("This report does not exist.", detail=query.problem)
        days = f"{query.scope.first:%Y%m%d}-{query.scope.last:%Y%m%d}"
        name = f"spend-{query.by}-{days}-at-{now():%Y%m%d-%H%M%S}.csv"
        return csv_response(request, csv_lines(request.user, query), name)
