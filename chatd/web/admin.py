"""Pages of the administration that name things of several packages, and so belong to none.

The settings of the deployment name models and show the built-in prompt; what was spent names
people, models and chats.
"""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.core.action_admin import PageAdmin
from chatd.preferences.models import SiteSetting
from chatd.spending.models import Spend
from chatd.web.settings_form import SettingsForm
from chatd.web.spend.admin import SpendAdmin

admin.site.register(Spend, SpendAdmin)


@admin.register(SiteSetting)
class SiteSettingAdmin(PageAdmin[SiteSetting]):
    template = "admin/settings.html"

    def page(self, request: HttpRequest) -> HttpResponse:
        assert isinstance(request.user, User)
        if request.method != "POST":
            return self._show(request, SettingsForm(request.user))
        if not self.may_change(request):
            raise PermissionDenied
        form = SettingsForm(request.user, request.POST)
        changed = form.store(Actor(request.user)) if form.is_valid() else None
        if changed is None:
            return self._show(request, form)
        if changed:
            messages.success(request, f"Saved: {', '.join(each.label for each in changed)}.")
        else:
            messages.info(request, "Nothing was changed.")
        return redirect(request.path)

    def _show(self, request: HttpRequest, form: SettingsForm) -> HttpResponse:
        context = {"form": form, "groups": list(form.groups())}
        return self.render(request, "Settings", context)
