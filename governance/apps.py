"""Django's entry for the governance package."""

from django.apps import AppConfig


class GovernanceConfig(AppConfig):
    """Governance: access, ledger, approvals."""

    name = "governance"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        """Let the OpenAPI document know how callers prove who they are."""
        from governance.interfaces import schema  # noqa: F401 - registers itself
