"""The REST endpoints of the training package."""

from rest_framework.routers import SimpleRouter

router = SimpleRouter()
