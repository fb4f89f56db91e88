"""Who one is: names, and the password."""

from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, QueryDict

from chatd.accounts.actor import Actor, acting
from chatd.accounts.models import LoginType, User
from chatd.accounts.users import NewPassword, Profile, set_password, update_profile
from chatd.accounts.validation import ME
from chatd.core.errors import Validation, bad_request
from chatd.web.settings_pages.forms import SECRET, Field, Form
from chatd.web.settings_pages.frame import Refused, Shown, answer_form, settings_view

ROUTE = "settings"

NO_PASSWORD = {
    LoginType.OIDC: "You sign in with the account of your organisation. Its password is changed"
    " there.",
    LoginType.NONE: "This account has no password, so there is none to change.",
}


@settings_view
def profile(request: HttpRequest) -> HttpResponse:
    """Show who one is (GET), or change a name or the password (POST)."""
    if request.method != "POST":
        return _show(request)
    acts = {"profile": _rename, "password": _change_password}
    return answer_form(request, acts, _show, route=ROUTE, blamed={})


def _rename(actor: Actor, request: HttpRequest) -> str:
    posted = request.POST
    wanted = Profile(username=posted.get("username", "").strip(), name=posted.get("name", ""))
    update_profile(actor, ME, lambda: wanted)
    return "Your profile is saved."


def _change_password(actor: Actor, request: HttpRequest) -> str:
    posted = request.POST
    changed = set_password(actor, ME, lambda: _new_password(posted))
    update_session_auth_hash(request, changed)  # this session goes on, all others end
    return "Your password is changed. You are signed out everywhere else."


def _new_password(posted: QueryDict) -> NewPassword:
    password = posted.get("password", "")
    if password != posted.get("again", ""):
        differs = Validation("again", "This is not what you typed above. Type both again.")
        raise bad_request("The new passwords differ.", validations=[differs])
    return NewPassword(password=password, old_password=posted.get("old_password", ""))


def _show(request: HttpRequest, last: Refused | None = None) -> HttpResponse:
    shown, user = Shown(request, last), acting(request).user
    no_password = NO_PASSWORD.get(LoginType(user.login_type), "")
    context = {
        "person": user,
        "profile": shown.form(_profile_form(user)),
        "password": None if no_password else shown.form(_password_form()),
        "no_password": no_password,
    }
    return shown.render("profile", ROUTE, context)


def _profile_form(user: User) -> Form:
    return Form(
        name="profile",
        submit="Save",
        subject="your profile",
        fields=[
            Field(
                name="username",
                label="User name",
                hint="For signing in, and in addresses of the API: letters, digits and dashes.",
                values=[user.username],
                required=True,
                attributes={
                    "maxlength": 32,
                    "autocomplete": "username",
                    "autocapitalize": "none",
                    "spellcheck": "false",
                },
            ),
            Field(
                name="name",
                label="Name",
                hint="What others see. Leave it empty to be shown by your user name.",
                values=[user.name],
                attributes={"maxlength": 128, "autocomplete": "name"},
            ),
        ],
    )


def _password_form() -> Form:
    new = {"autocomplete": "new-password"}
    return Form(
        name="password",
        submit="Change the password",
        about="You stay signed in here and are signed out everywhere else. API tokens go on"
        " working; revoke them if somebody else may have them.",
        fields=[
            Field(
                name="old_password",
                label="Old password",
                kind=SECRET,
                required=True,
                attributes={"autocomplete": "current-password"},
            ),
            Field(
                name="password", label="New password", kind=SECRET, required=True, attributes=new
            ),
            Field(
                name="again",
                label="New password once more",
                kind=SECRET,
                required=True,
                attributes=new,
            ),
        ],
    )
