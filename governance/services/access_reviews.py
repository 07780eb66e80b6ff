"""Access reviews: opened over one object, decided item by item by who may take access away, closed when all is said."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, cast

from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import AccessReview, AccessReviewItem, BreakGlass, RoleAssignment, Share, User
from governance.policy import Permission
from governance.services import access, break_glass, ledger, roles

Via, Verdict = AccessReviewItem.Via, AccessReviewItem.Verdict
_SOURCES: dict[str, Any] = {Via.ROLE: RoleAssignment, Via.SHARE: Share, Via.EMERGENCY: BreakGlass}


class Invalid(ValueError):
    """What was given does not fit; the message says why and `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


@transaction.atomic
def open(*, actor: User, subject, owner: User, due_on: date) -> AccessReview:
    """Open a review of everyone who can see the subject now, which `owner` is to finish by `due_on`.

    Raises Denied without member.manage there; Invalid for an owner who could take nothing away, a date that has passed,
    or where a review of this object is open.
    """
    access.require(actor, Permission.MEMBER_MANAGE, subject)
    if owner.is_service or not owner.is_active or not access.allows(owner, Permission.MEMBER_MANAGE, subject):
        raise Invalid(
            f"{owner} could take nothing away there; choose an owner of the team or an administrator.", field="owner"
        )
    if due_on < timezone.localdate():
        raise Invalid("The day by which it is due has passed.", field="due_on")
    try:
        with transaction.atomic():
            review = AccessReview.objects.create(
                content_type=ContentType.objects.get_for_model(subject),
                object_id=subject.pk,
                subject_label=str(subject)[:300],
                scope_id=access.scope_id_of(subject),
                owner=owner,
                due_on=due_on,
                opened_by=actor,
            )
    except IntegrityError as error:
        raise Invalid("A review of this object is open already; finish that one first.", field="") from error
    items = [
        AccessReviewItem(
            review=review,
            person=held.person,
            via=held.via,
            source_id=held.source.pk,
            words=held.words[:300],
            since=cast(datetime, held.since),
            granted_by=held.granted_by,
            until=held.until,
        )
        for held in access.who_sees(subject)
        if held.source is not None
    ]
    AccessReviewItem.objects.bulk_create(items)
    ledger.record(
        Action.ACCESS_REVIEW_OPENED,
        actor=actor,
        subject=review,
        details={
            "of": {"type": subject._meta.label_lower, "id": str(subject.pk)},
            "owner": str(owner.ledger_id),
            "due": due_on.isoformat(),
            "items": len(items),
        },
    )
    return review


@transaction.atomic
def decide(*, actor: User, item: AccessReviewItem, verdict: str, note: str = "") -> AccessReviewItem:
    """Keep one access or take it away at once; what is kept may be taken away later, as long as the review is open.

    An access that has ended by itself is noted as ended. Raises Denied for one's own access, without the right to give
    such an access, or in a closed review; Invalid for another word.
    """
    review = AccessReview.objects.select_for_update(of=("self",)).get(pk=item.review_id)
    item = AccessReviewItem.objects.select_related("person").get(pk=item.pk)
    access.require(actor, Permission.MEMBER_MANAGE, _place(review))
    if review.closed_at is not None:
        raise access.Denied("This review is closed.", code="closed", subject=review)
    if item.person_id == actor.pk:
        raise access.Denied(
            "You cannot decide about your own access; another owner of the team or an administrator has to.",
            code="own_access",
            subject=review,
        )
    if verdict not in {Verdict.KEPT, Verdict.TAKEN_AWAY}:
        raise Invalid("Choose “kept” or “taken_away”.", field="verdict")
    if item.verdict in {Verdict.TAKEN_AWAY, Verdict.ENDED}:
        raise access.Denied("This access has ended already.", code="closed", subject=review)
    source = _source(item)
    if source is None:
        verdict = Verdict.ENDED
    elif verdict == Verdict.TAKEN_AWAY:
        _take_away(actor, item, source)
    item.verdict, item.note = Verdict(verdict).value, note.strip()[:4000]
    item.decided_by, item.decided_at = actor, timezone.now()
    item.save(update_fields=["verdict", "note", "decided_by", "decided_at"])
    ledger.record(
        Action.ACCESS_REVIEW_DECIDED,
        actor=actor,
        subject=review,
        details={
            "person": str(item.person.ledger_id),
            "via": item.via,
            "source": item.source_id,
            "verdict": item.verdict,
        },
        texts={"note": item.note},
    )
    return item


@transaction.atomic
def close(*, actor: User, review: AccessReview) -> AccessReview:
    """Close the review; raises Denied, which lists the people, while an access that still holds is undecided."""
    review = AccessReview.objects.select_for_update(of=("self",)).get(pk=review.pk)
    access.require(actor, Permission.MEMBER_MANAGE, _place(review))
    if review.closed_at is not None:
        return review
    undecided = []
    now = timezone.now()
    for item in review.items.filter(verdict="").select_related("person"):
        if _source(item) is not None:
            undecided.append(f"{item.person}: {item.words}")
            continue
        item.verdict, item.decided_by, item.decided_at = Verdict.ENDED.value, actor, now
        item.save(update_fields=["verdict", "decided_by", "decided_at"])
    if undecided:
        raise access.Denied(
            "Some accesses are not decided; say for each whether it stays.",
            code="undecided",
            missing=undecided,
            subject=review,
        )
    review.closed_at = now
    review.save(update_fields=["closed_at"])
    verdicts = list(review.items.values_list("verdict", flat=True))
    ledger.record(
        Action.ACCESS_REVIEW_CLOSED,
        actor=actor,
        subject=review,
        details={verdict.value: verdicts.count(verdict.value) for verdict in Verdict},
    )
    return review


def _place(review: AccessReview):
    """Return what the right to decide is held on: the object, or what is left to say where it is gone."""
    return review.subject if review.subject is not None else review


def _source(item: AccessReviewItem):
    """Return the row that gives the access, or None where it gives nothing any more."""
    return _SOURCES[Via(item.via)].objects.live().filter(pk=item.source_id).first()


def _take_away(actor: User, item: AccessReviewItem, source) -> None:
    if item.via == Via.ROLE:
        roles.revoke(actor=actor, assignment=source)
    elif item.via == Via.SHARE:
        roles.unshare(actor=actor, share=source)
    else:
        break_glass.end(actor=actor, glass=source)
