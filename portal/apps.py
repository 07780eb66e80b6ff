"""Django's entry for the site."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The site itself."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        """Load the system checks and the recording of sign-ins, and offer saved views to the lists."""
        from governance.interfaces import listings
        from portal import checks  # noqa: F401 - registers itself
        from portal.accounts import locking, recording  # noqa: F401 - both register themselves
        from portal.views import saved_views

        listings.offer_views(saved_views.offer)
