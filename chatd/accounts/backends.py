"""Sign-in of the pages: user name or e-mail, and a password."""

from typing import Any
from uuid import UUID

from django.contrib.auth.backends import BaseBackend
from django.db.models import Q
from django.http import HttpRequest

from chatd.accounts.models import LoginType, User


class UsernameOrEmailBackend(BaseBackend):
    """Check a password in constant time whether the account exists or not."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if not username or not password or "\x00" in username:
            return None
        user = (
            User.objects.live()
            .filter(Q(username__iexact=username) | (Q(email__iexact=username) & ~Q(email="")))
            .first()
        )
        if user is None:
            User().set_password(password)
            return None
        allowed = user.login_type == LoginType.PASSWORD and user.is_active
        return user if user.check_password(password) and allowed else None

    def get_user(self, user_id: UUID) -> User | None:
        user = User.objects.live().filter(pk=user_id).first()
        return user if user is not None and user.is_active else None
