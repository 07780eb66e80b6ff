"""Quotas are set, changed and ended here; how they are counted is the meter's business."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from portal.models import Quota, Unit, Window
from projects.models import Team, UseCase
from projects.services.fields import Invalid
from training.models import RegisteredModel

LARGEST = Decimal(10) ** 12
CHANGEABLE = frozenset({"amount", "reason"})
Subject = Quota.Subject


class Ended(access.Denied):
    """The quota has ended and stays as it was."""


@transaction.atomic
def create(
    *,
    actor: User,
    subject: str,
    unit: str,
    window: str,
    amount: Decimal | int | str,
    team: Team | None = None,
    model: RegisteredModel | None = None,
    use_case: UseCase | None = None,
    person: User | None = None,
    each_person: bool = False,
    reason: str = "",
) -> Quota:
    """Set how much may be used in each window; return the quota. Raises Denied, or Invalid for a field.

    Of team, model, use case and person exactly the one that `subject` names is given.
    """
    for value, choices, field in ((subject, Subject, "subject"), (unit, Unit, "unit"), (window, Window, "window")):
        if value not in choices.values:
            raise Invalid(f"Choose one of: {', '.join(choices.values)}.", field=field)
    given = {"team": team, "model": model, "use_case": use_case, "person": person}
    for name, what in given.items():
        if what is not None and name != subject:
            raise Invalid(f"A quota of “{Subject(subject).label}” names no {name.replace('_', ' ')}.", field=name)
        if what is None and name == subject:
            raise Invalid(f"Say which {name.replace('_', ' ')}.", field=name)
    if subject == Subject.PERSON and each_person:
        raise Invalid("A quota of one person is not one of each person.", field="each_person")
    held = model or use_case
    owner = held.team if held is not None else team
    quota = Quota(
        **(given | {"team": owner}),
        subject=subject,
        unit=unit,
        window=window,
        each_person=each_person,
        amount=_amount(unit, amount),
        reason=_reason(reason),
        set_by=actor,
    )
    access.require(actor, Permission.QUOTA_MANAGE, quota)
    try:
        with transaction.atomic():
            quota.save()
    except IntegrityError as error:
        raise Invalid("There is a quota of this kind already; change that one.", field="amount") from error
    ledger.record(
        Action.QUOTA_SET,
        actor=actor,
        subject=quota,
        details=_told(quota),
        texts={"reason": quota.reason} if quota.reason else {},
    )
    return quota


@transaction.atomic
def change(*, actor: User, quota: Quota, **values) -> Quota:
    """Change how much, or why; what was used of the window that runs stays used. Raises Denied, Ended, Invalid."""
    quota = _held(actor, quota)
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise Invalid(f"“{min(unknown)}” cannot be changed; end this quota and set another.", field=min(unknown))
    before = {"amount": str(quota.amount), "reason": quota.reason}
    if "amount" in values:
        quota.amount = _amount(quota.unit, values["amount"])
    if "reason" in values:
        quota.reason = _reason(values["reason"])
    after = {"amount": str(quota.amount.quantize(Decimal("0.000001"))), "reason": quota.reason}
    if before == after:
        return quota
    quota.changed_at = timezone.now()
    quota.save()
    details, texts = ledger.changes(before, after, free_text={"reason"})
    ledger.record(Action.QUOTA_CHANGED, actor=actor, subject=quota, details=details, texts=texts)
    return quota


@transaction.atomic
def end(*, actor: User, quota: Quota) -> Quota:
    """End a quota: nothing is refused because of it any more. Raises Denied, Ended."""
    quota = _held(actor, quota)
    quota.ended_at = quota.changed_at = timezone.now()
    quota.save(update_fields=["ended_at", "changed_at"])
    ledger.record(Action.QUOTA_ENDED, actor=actor, subject=quota, details=_told(quota))
    return quota


def _held(actor: User, quota: Quota) -> Quota:
    access.require(actor, Permission.QUOTA_MANAGE, quota)
    quota = Quota.objects.select_for_update(no_key=True).get(pk=quota.pk)
    if quota.ended_at is not None:
        raise Ended("This quota has ended; set a new one.", code="closed", subject=quota)
    return quota


def _amount(unit: str, given) -> Decimal:
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= LARGEST:
        raise Invalid(f"Give a number from 0 to {LARGEST:,f}.", field="amount")
    if unit != Unit.MONEY and amount != amount.to_integral_value():
        raise Invalid(f"There are no parts of {Unit(unit).label}: give a whole number.", field="amount")
    if amount != amount.quantize(Decimal("0.000001")):
        raise Invalid("Money is counted to a millionth: give at most six decimals.", field="amount")
    return amount


def _reason(given: str) -> str:
    reason = " ".join(str(given).split())
    if len(reason) > 300:
        raise Invalid("Say why in at most 300 characters.", field="reason")
    return reason


def _told(quota: Quota) -> dict:
    named = {"model": quota.model, "use_case": quota.use_case, "person": quota.person, "team": quota.team}
    what = named.get(quota.subject)
    whom = {} if what is None else {"of": str(what.ledger_id) if isinstance(what, User) else what.pk}
    return {
        "covers": quota.subject,
        **whom,
        "each_person": quota.each_person,
        "amount": str(quota.amount),
        "unit": quota.unit,
        "window": quota.window,
    }
