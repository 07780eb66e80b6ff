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
        from projects.services import use_cases

        approvals.on_approved(Gate.MODEL_PUBLICATION, _publication_approved)
        approvals.on_closed(Gate.MODEL_PUBLICATION, _publication_closed)
        for gate in (Gate.USE_CASE_DEVELOPMENT, Gate.DATASET_USE):
            approvals.on_closed(gate, _foundation_closed)
        use_cases.on_tier_changed(_tier_changed)


def _publication_approved(*, actor, request):
    from training.services import registry

    registry.approved(actor=actor, request=request)


def _publication_closed(*, actor, request):
    from training.services import registry

    registry.closed(actor=actor, request=request)


def _foundation_closed(*, actor, request):
    from training.services import jobs, registry

    jobs.stop_resting_on(actor=actor, request=request)
    registry.suspend_resting_on(actor=actor, request=request)


def _tier_changed(*, actor, use_case):
    from training.services import registry

    registry.reconsider(actor=actor, use_case=use_case)
