"""API tokens of a person."""

from datetime import timedelta
from typing import Annotated

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts import shapes
from chatd.accounts.api_keys import NewToken, create_own_token, delete_key
from chatd.accounts.policy import SCOPES
from chatd.accounts.selectors import list_tokens_for
from chatd.api.documenting import Operation, Parameter
from chatd.api.idempotency import secret_answer
from chatd.api.parsing import MAX_PEOPLE_BODY_BYTES, Int64, QueryReader, decode_body
from chatd.api.people import api_key_body
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import documented

Scope = Annotated[str, documented(enum=sorted(SCOPES))]


class CreateTokenRequest(Struct, kw_only=True):
    """Body of `POST /users/{user}/keys/tokens`; `lifetime` is in nanoseconds, 0 the longest."""

    token_name: str | None = None
    lifetime: Int64 | None = None
    scopes: list[Scope] | None = None

    def checked(self) -> NewToken:
        return NewToken(
            name=self.token_name or "",
            lifetime=timedelta(microseconds=self.lifetime // 1000) if self.lifetime else None,
            scopes=list(dict.fromkeys(self.scopes or ())),
        )


class TokensViewSet(ResourceViewSet):
    """`/users/{user}/keys/tokens`."""

    @Operation(
        "listTokens",
        "List the API tokens of a person",
        answer=list[shapes.APIKey],
        parameters=[
            Parameter("include_expired", {"type": "boolean"}, "Show those of the last month, too.")
        ],
        refusals=[403],
    )
    def list(self, request: Request, user: str) -> Response:
        query = QueryReader(request, "Query parameters have invalid values.")
        include_expired = query.boolean("include_expired")
        query.check()
        caller = self.actor(request).user
        keys = list_tokens_for(caller, user, include_expired=include_expired)
        return Response([api_key_body(key) for key in keys])

    @Operation(
        "createToken",
        "Create an API token for oneself",
        description="The key is shown this once.",
        status=201,
        answer=shapes.NewAPIKey,
        body=CreateTokenRequest,
        refusals=[403],
    )
    @secret_answer
    def create(self, request: Request, user: str) -> Response:
        text = create_own_token(
            self.actor(request),
            user,
            lambda: decode_body(request, CreateTokenRequest, cap=MAX_PEOPLE_BODY_BYTES).checked(),
        )
        body: shapes.NewAPIKey = {"key": text}
        return Response(body, status=201)


class KeyViewSet(ResourceViewSet):
    """`/users/{user}/keys/{key}`: a token, or the session of a sign-in."""

    @Operation("deleteKey", "End a token or a session", status=204, refusals=[403])
    def destroy(self, request: Request, user: str, key: str) -> Response:
        delete_key(self.actor(request), user, key)
        return Response(status=204)
