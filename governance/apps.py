"""Django's entry for the governance package."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class GovernanceConfig(AppConfig):
    """Governance: access, ledger, approvals."""

    name = "governance"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        """Let the OpenAPI document know how callers prove who they are, and guard the tables after migrations."""
        from governance import guards
        from governance.interfaces import schema  # noqa: F401 - registers itself

        pre_migrate.connect(guards.before_migrations, sender=self)
        post_migrate.connect(guards.after_migrations, sender=self)
