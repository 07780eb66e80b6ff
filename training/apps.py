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

        approvals.on_approved(Gate.MODEL_PUBLICATION, _publication_approved)
        approvals.on_closed(Gate.MODEL_PUBLICATION, _publication_closed)


def _publication_approved(*, actor, request):
    from training.services import registry

    registry.approved(actor=actor, request=request)


def _publication_closed(*, actor, request):
    from training.services import registry

    registry.closed(actor=actor, request=request)
