"""Django's entry for the site."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The site itself."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        """Load checks and the recording of sign-ins, offer saved views to the lists, and duties to the scheduler."""
        from governance.interfaces import listings
        from portal import checks  # noqa: F401 - registers itself
        from portal.accounts import locking, recording  # noqa: F401 - both register themselves
        from portal.views import saved_views
        from training import duties

        listings.offer_views(saved_views.offer)
        duties.register("tell refusals by quotas", 30, _tell_refusals)
        duties.register("purge bodies and old counts", 600, _purge)


def _tell_refusals():
    from governance.models import User
    from portal.gateway import metering

    return metering.tell_refusals(actor=User.objects.system())


def _purge():
    from governance.models import User
    from portal.gateway import bodies

    return bodies.purge(actor=User.objects.system())
