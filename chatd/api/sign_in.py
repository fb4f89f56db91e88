"""Signing in and out."""

from typing import Annotated

from django.contrib.auth import logout
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts import shapes
from chatd.accounts.sign_in import sign_in, sign_out
from chatd.accounts.validation import Findings
from chatd.api.documenting import Operation
from chatd.api.parsing import MAX_PEOPLE_BODY_BYTES, ConfidentialBody, decode_body
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import documented


class LoginRequest(ConfidentialBody, kw_only=True):
    """Body of `POST /users/login`."""

    email: Annotated[str | None, documented(required=True)] = None
    password: Annotated[str | None, documented(required=True)] = None

    def checked(self) -> tuple[str, str]:
        """Return both. Raises the 400 for what is missing."""
        findings = Findings()
        for field, value in (("email", self.email), ("password", self.password)):
            if not value:
                findings.add(field, "required", "", "is needed to sign in.")
        findings.check()
        return self.email or "", self.password or ""


class SignInViewSet(ResourceViewSet):
    """`/users/login`: for everybody, whatever they carry."""

    authentication_classes = ()
    permission_classes = ()

    def check_throttles(self, request: Request) -> None:
        """Attempts are counted where passwords are checked; there is no caller to count."""

    @Operation(
        "signIn",
        "Sign in with an e-mail address or a user name",
        status=201,
        answer=shapes.Session,
        body=LoginRequest,
        refusals=[401],
        public=True,
    )
    def create(self, request: Request) -> Response:
        wanted = decode_body(request, LoginRequest, cap=MAX_PEOPLE_BODY_BYTES)
        email, password = wanted.checked()
        token = sign_in(request._request, email=email, password=password)
        body: shapes.Session = {"session_token": token}
        return Response(body, status=201)


class SignOutViewSet(ResourceViewSet):
    """`/users/logout`."""

    @Operation("signOut", "End the session or token that is used", answer=shapes.Done)
    def create(self, request: Request) -> Response:
        actor = self.actor(request)
        if actor.api_key is None:
            logout(request._request)
        sign_out(actor)
        body: shapes.Done = {"message": "Logged out!"}
        return Response(body)
