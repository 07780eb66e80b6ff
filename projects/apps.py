"""Django's entry for the projects package."""

from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    """Teams, use cases, datasets and the content-addressed store."""

    name = "projects"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        """Say what happens when one of this package's gates opens, or a request at it ends."""
        from governance.policy import Gate
        from governance.services import approvals
        from projects.services import use_cases

        approvals.on_approved(Gate.USE_CASE_DEVELOPMENT, use_cases.approved)
        approvals.on_closed(Gate.USE_CASE_DEVELOPMENT, use_cases.closed)
