"""Files: raw bytes in, raw bytes out."""

from urllib.parse import quote

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import BINARY, JSON, Operation, Parameter, uuid
from chatd.api.parsing import parse_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.files import get_file_for, upload_file
from chatd.chats.media import ALLOWED_TYPES, MAX_FILE_BYTES, OCTET_STREAM
from chatd.core.errors import bad_request
from config.env import env

_BYTES = {media: {} if media == JSON else BINARY for media in sorted(ALLOWED_TYPES)}


class FileViewSet(ResourceViewSet):
    """`/chats/files` and `/chats/files/{file}`."""

    def rate_limit(self) -> int:
        return env.upload_rate_limit if self.action == "create" else super().rate_limit()

    @Operation(
        "uploadFile",
        "Upload a file, to be named in a message",
        description="The type is found by content and must be the declared one."
        f" At most {MAX_FILE_BYTES} bytes.",
        answer=shapes.StoredFile,
        status=201,
        body=_BYTES | {OCTET_STREAM: BINARY},
        parameters=[
            uuid("organization", "Where the file belongs.", required=True),
            Parameter(
                "Content-Disposition",
                {"type": "string", "examples": ['attachment; filename="notes.txt"']},
                "Names the file; `filename*` may be used for other than ASCII.",
                required=True,
                place="header",
            ),
        ],
        refusals=[403, 413],
    )
    def create(self, request: Request) -> Response:
        raw = request.GET.get("organization", "").strip()
        if not raw:
            raise bad_request("Missing organization query parameter.")
        organization_id = parse_uuid(raw, "Invalid organization ID.")
        stored = upload_file(
            self.actor(request),
            organization_id,
            content_type=request.headers.get("Content-Type", ""),
            disposition=_utf8(request.headers.get("Content-Disposition", "")),
            body=request._request.read(MAX_FILE_BYTES + 1),
        )
        body: shapes.StoredFile = {"id": str(stored.pk)}
        return Response(body, status=201)

    @Operation("downloadFile", "Download a file", answer=_BYTES)
    def retrieve(self, request: Request, file: str) -> HttpResponse:
        found = get_file_for(self.actor(request).user, parse_uuid(file, "Invalid file ID."))
        shown = found.mimetype in ALLOWED_TYPES and found.mimetype != "application/pdf"
        answer = HttpResponse(bytes(found.data), content_type=found.mimetype)
        answer["Content-Disposition"] = _disposition(found.name, inline=shown)
        answer["Cache-Control"] = "private, max-age=31536000, immutable"
        answer["X-Content-Type-Options"] = "nosniff"
        # An uploaded file is shown from this origin: nothing in it may run.
        answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
        return answer


def _utf8(header: str) -> str:
    """Return a header's text as UTF-8 where it is that; a server hands it over as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _disposition(name: str, *, inline: bool) -> str:
    kind = "inline" if inline else "attachment"
    if name.isascii() and not set(name) & set('"\\'):
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename*=utf-8''{quote(name, safe='')}"
