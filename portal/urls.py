"""The map of the site: one include for each package."""

from django.contrib import admin
from django.urls import include, path

from portal import views

urlpatterns = [
    path("", include("portal.pages")),
    path("", include("governance.urls")),
    path("", include("projects.urls")),
    path("", include("training.urls")),
    path("api/v1/", include("portal.api")),
    path("v1/", include("portal.gateway.openai.urls")),
    path("account/", include("portal.accounts.urls")),
    path("django-admin/", admin.site.urls),
    # Last: what the clients of the Hub ask begins with the name of a team, which may be anything that is not above.
    path("", include("portal.gateway.hub.urls")),
]

handler400 = views.bad_request
handler403 = views.refused
handler404 = views.not_found
handler429 = views.too_many
handler500 = views.server_error
