"""Django's entry for the governance package."""

from django.apps import AppConfig


class GovernanceConfig(AppConfig):
    """Governance: access, ledger, approvals."""

    name = "governance"
    default_auto_field = "django.db.models.BigAutoField"
