"""What people say of answers is taken here; and what they said is taken as labelled data by who prepares data."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from portal.gateway import bodies
from portal.models import Feedback, Outcome, Usage
from portal.models.usage import Kind
from projects.models import UseCase
from projects.services.fields import Invalid

LONGEST_COMMENT = 2000
LONGEST_LABEL = 200
_ANSWERS = (Kind.PREDICT, Kind.CHAT, Kind.COMPLETION)


@transaction.atomic
def give(*, actor: User, usage: Usage, thumb: str, comment: str = "", label: str = "") -> Feedback:
    """Say of an answer to one's own call whether it helped, why, and what would have been right; a second time changes
    what was said. Raises Denied for another's call, Invalid for a field."""
    access.require_token(actor, Permission.MODEL_USE, usage)
    # Whoever says something twice at once says it one after the other.
    usage = Usage.objects.select_for_update(no_key=True, of=("self",)).select_related("model__team").get(pk=usage.pk)
    if usage.person_id != actor.pk:
        raise access.Denied("Only who made the call says how its answer was.", code="not_yours", subject=usage.model)
    if usage.kind not in _ANSWERS or usage.outcome != Outcome.ANSWERED:
        raise Invalid("There was no answer to say anything of.", field="call")
    if thumb not in Feedback.Thumb.values:
        raise Invalid(f"Choose one of: {', '.join(Feedback.Thumb.values)}.", field="thumb")
    # PostgreSQL keeps no text with this character.
    comment, label = comment.replace("\0", "").strip(), " ".join(label.replace("\0", "").split())
    if len(comment) > LONGEST_COMMENT:
        raise Invalid(f"Say it in at most {LONGEST_COMMENT} characters.", field="comment")
    if len(label) > LONGEST_LABEL:
        raise Invalid(f"A label has at most {LONGEST_LABEL} characters.", field="label")
    held = Feedback.objects.filter(usage=usage).first() or Feedback(usage=usage)
    held.thumb, held.comment, held.label, held.changed_at = thumb, comment, label, timezone.now()
    held.save()
    ledger.record(
        Action.FEEDBACK_GIVEN,
        actor=actor,
        subject=usage.model,
        details={"call": usage.pk, "thumb": thumb},
        texts={name: text for name, text in (("comment", comment), ("label", label)) if text},
    )
    return held


@transaction.atomic
def take(*, actor: User, use_case: UseCase) -> Iterator[tuple[str, str]]:
    """Return (text, label) of what was said of the use case's answers, newest first, for a dataset; it is recorded.

    A row needs a call of one text whose body is kept. Its label is the one that the person named, or the answer's own
    where they said that it helped. Raises Denied for who does not prepare data in the team.
    """
    access.require(actor, Permission.DATASET_UPLOAD, use_case)
    rows = Feedback.objects.filter(usage__use_case=use_case, usage__kind=Kind.PREDICT, usage__texts=1)
    found = [row for row in map(_labelled, rows.select_related("usage__body").order_by("-pk")) if row is not None]
    ledger.record(Action.FEEDBACK_TAKEN, actor=actor, subject=use_case, details={"rows": len(found)})
    return iter(found)


def _labelled(row: Feedback) -> tuple[str, str] | None:
    body = getattr(row.usage, "body", None)
    said = bodies.read(body) if body is not None and body.purge_at > timezone.now() else None
    if said is None:
        return None
    answered = said["results"][0][0]["label"] if row.thumb == Feedback.Thumb.UP else ""
    label = row.label or answered
    return (said["inputs"][0], label) if label else None
