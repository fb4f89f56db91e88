"""URL map of the product: API, pages, admin, health."""

from django.contrib import admin
from django.urls import include, path

from chatd.web.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("api/", include("chatd.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("chatd.web.urls")),
]
