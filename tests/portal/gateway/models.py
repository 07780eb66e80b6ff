"""A registered model without a training run behind it, for tests that call nothing."""

from __future__ import annotations

from django.db import transaction

from governance.actions import Action
from governance.services import ledger
from projects.models import Repository
from projects.services import repositories
from tests import factories
from training.models import RegisteredModel


def make_model(person, team, name: str = "router") -> RegisteredModel:
    """Return a model of the team that was made for a use case proposed by the person."""
    use_case = factories.make_use_case(actor=person, team=team, title=f"Sort with {name}")
    with transaction.atomic():
        repository = repositories.create(actor=person, kind=Repository.Kind.MODEL, team=team, name=name)
        model = RegisteredModel.objects.create(
            team=team,
            name=name,
            title=name.capitalize(),
            use_case=use_case,
            task="text-classification",
            repository=repository,
            created_by=person,
        )
        ledger.record(Action.MODEL_REGISTERED, actor=person, subject=model)
    return model
