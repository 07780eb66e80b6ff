"""The REST endpoints of the projects package."""

from rest_framework.routers import SimpleRouter

router = SimpleRouter()
