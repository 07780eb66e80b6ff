"""Django's entry for the training package."""

from django.apps import AppConfig


class TrainingConfig(AppConfig):
    """Base models, jobs, evaluations and the registry."""

    name = "training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        """Say what happens when this package's gate opens."""
        from governance.policy import Gate
        from governance.services import approvals
        from training.services import registry

        approvals.on_approved(Gate.MODEL_PUBLICATION, registry.approved)
