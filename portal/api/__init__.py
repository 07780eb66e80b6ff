"""The REST root: every package's endpoints under /api/v1, and their OpenAPI document."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from governance.api import router as governance_router
from governance.interfaces.declared import declares
from portal.api.feedback import router as feedback_router
from portal.api.guardrails import urlpatterns as guardrail_urls
from portal.api.quotas import router as quotas_router
from portal.api.saved_views import router as portal_router
from portal.api.usage import router as usage_router
from portal.gateway.api import urlpatterns as gateway_urls
from projects.api import router as projects_router
from training.api import router as training_router

app_name = "api"

urlpatterns = [
    *gateway_urls,
    *guardrail_urls,
    path("", include(governance_router.urls)),
    path("", include(projects_router.urls)),
    path("", include(training_router.urls)),
    path("", include(portal_router.urls)),
    path("", include(usage_router.urls)),
    path("", include(feedback_router.urls)),
    path("", include(quotas_router.urls)),
    path("schema/", declares("signed_in")(SpectacularAPIView.as_view(api_version="v1")), name="schema"),
    path("docs/", declares("signed_in")(SpectacularSwaggerView.as_view(url_name="api:schema")), name="docs"),
]
