"""Lists that leave the site as files: who took which rows and columns. The bytes are the page's business."""

from __future__ import annotations

from django.db import transaction

from governance.actions import Action
from governance.models import User
from governance.services import ledger


@transaction.atomic
def record(*, actor: User, listing: str, columns: list[str], order: str, query: str, rows: int, capped: bool) -> None:
    """Note that `actor` takes a list away as a file, before its first row is sent.

    `rows` is how many there are, at least so many where the count is `capped`. What the list was narrowed to may hold
    words that somebody typed, so it stands among the texts, which can be erased.
    """
    details = {"list": listing, "columns": columns, "order": order, "rows": rows, "rows_at_least": capped}
    texts = {"narrowed_to": query} if query else {}
    ledger.record(Action.LIST_EXPORTED, actor=actor, details=details, texts=texts)
