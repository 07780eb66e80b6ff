"""Writing past the services, as tests sometimes must: in one transaction with an entry that says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from governance.actions import Action
from governance.models import User
from governance.services import ledger


@contextmanager
def recorded(actor: User | None = None) -> Iterator[None]:
    """Let what the block writes into governed tables be committed: PostgreSQL asks for an entry beside it."""
    with transaction.atomic():
        ledger.record(Action.PERSON_CHANGED, actor=actor or User.objects.system(), details={"changed": {}})
        yield
