"""URL map of the product: API, pages, admin, health."""

from django.contrib import admin
from django.urls import include, path

from chatd.web import administration
from chatd.web.health import healthz, readyz
from chatd.web.metrics import metrics

handler500 = "chatd.web.failures.server_error"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("api/", include("chatd.api.urls")),
    # Signing in and out, and passwords, are the same for everybody.
    path("admin/login/", administration.sign_in),
    path("admin/logout/", administration.sign_out),
    path("admin/password_change/", administration.change_password),
    path("admin/", admin.site.urls),
    path("", include("chatd.web.urls")),
]
