"""Quotas as a call meets them: what it takes before it runs and gives back after, what is said when there is none left.

A call takes the most that it can use. When it has ended, what it did use stays; so calls at the same time cannot use
more than there is together, and the last one may be refused although it would have used less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from governance.actions import Action
from governance.models import User
from governance.services import ledger
from portal.gateway.metering import counts, prices
from portal.models import Quota, QuotaRefusal, QuotaWarning, Unit, Usage, Window
from portal.models.quotas import MICRO

WARN_AT = 80
"""Per cent of a quota from which on people are told."""
TELL_AGAIN = timedelta(minutes=1)


class Exceeded(Exception):
    """A quota has no room for this call. `reason` is a sentence, `retry_after` seconds until there is room again.

    `code` is "rate_limit_exceeded" where waiting a moment helps, else "insufficient_quota".
    """

    def __init__(self, reason: str, *, retry_after: int, code: str, headers: dict[str, str] | None = None):
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.code = code
        self.headers = {"Retry-After": str(retry_after), **(headers or {})}


@dataclass(frozen=True)
class Standing:
    """How much of a quota was used in the window that it is now."""

    quota: Quota
    used: int
    resets_at: object

    @property
    def share(self) -> int:
        """Return the per cent that is used, 100 where nothing is left."""
        return min(100, self.used * 100 // self.quota.limit) if self.quota.limit else 100

    @property
    def left(self) -> int:
        """Return what is left."""
        return max(0, self.quota.limit - self.used)

    @property
    def near(self) -> bool:
        """Return whether people are to be told."""
        return self.share >= WARN_AT

    @property
    def tone(self) -> str:
        """Return how a page colours it: bad where nothing is left, warn where it comes to its end."""
        return "bad" if not self.left else "warn" if self.near else ""

    @property
    def sentence(self) -> str:
        """Return how much is used, of what, until when."""
        return _("%(used)s of %(quota)s are used; it is whole again %(when)s.") % {
            "used": self.quota.told(self.used), "quota": self.quota, "when": _when(self.resets_at),
        }  # fmt: skip


def take(usage: Usage, *, tokens: int, bytes: int, priced: dict) -> list[counts.Hold]:
    """Take the most that a call can use of every quota that binds it; raises Exceeded and takes nothing.

    Raises counts.Uncounted where it cannot be told what is left.
    """
    binding = Quota.objects.binding(
        person=usage.person, team=usage.team, model=usage.model, use_case=usage.use_case
    ).select_related("team", "model__team", "use_case", "person")
    most = _amounts(usage, tokens=tokens, bytes=bytes, money=_most(priced, tokens))
    holds = [counts.hold(q, usage.person, most[q.unit], usage.at) for q in binding if most[q.unit] is not None]
    if not holds:
        return []
    try:
        counts.of_site().take(holds)
    except counts.Full as full:
        counts.of_site().read([one for one in holds if one is not full.hold])
        full.hold.used = full.used
        refused = _refusal(full.hold, holds)
        _tell(usage.person, full.hold.quota)
        raise refused from None
    return holds


def settle(usage: Usage, holds: list[counts.Hold]) -> None:
    """Give back what the call did not use of what it held, and tell once where a quota comes to its end.

    Belongs into the transaction that records the usage.
    """
    if not holds:
        return
    used = _amounts(usage, tokens=usage.tokens, bytes=usage.bytes, money=int(usage.cost * MICRO))
    site = counts.of_site()
    for hold in holds:
        site.settle(hold, used[hold.quota.unit])
        if hold.used * 100 >= hold.quota.limit * WARN_AT:
            _warn(usage.person, hold)


def standings(*, person: User, team=None, model=None, use_case=None) -> list[Standing]:
    """Return how much is used of every quota that would bind this person's use, the fullest first."""
    binding = Quota.objects.binding(person=person, team=team, model=model, use_case=use_case)
    return standing_of(binding.select_related("team", "model__team", "use_case", "person"), person)


def standing_of(quotas, person: User) -> list[Standing]:
    """Return how much is used of these quotas, of those of each person by this one; the fullest first."""
    holds = [counts.hold(quota, person) for quota in quotas]
    if holds:
        counts.of_site().read(holds)
    found = [Standing(hold.quota, hold.used, hold.ends_at) for hold in holds]
    return sorted(found, key=lambda one: (-one.share, one.quota.pk))


def headers(holds: list[counts.Hold]) -> dict[str, str]:
    """Return RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10) for what a call met.

    Money is counted in millionths of the currency there, since the draft knows whole numbers alone.
    """
    if not holds:
        return {}
    now = timezone.now()
    policies, limits = [], []
    for hold in holds:
        quota = hold.quota
        name = f'"{quota.unit}-{quota.window}-{quota.pk}"'
        unit = {Unit.CALLS: "requests", Unit.BYTES: "content-bytes", Unit.MONEY: f"micro-{settings.CURRENCY.lower()}"}
        length = int((hold.ends_at - hold.begins_at).total_seconds())
        policies.append(f'{name};q={quota.limit};w={length};qu="{unit.get(Unit(quota.unit), quota.unit)}"')
        limits.append(f"{name};r={hold.left};t={_seconds(hold.ends_at, now)}")
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)}


def tell_refusals(*, actor: User) -> int:
    """Put into the ledger what was refused since it was last told there; return how many entries. For the scheduler."""
    told = 0
    rows = QuotaRefusal.objects.filter(untold__gt=0, told_at__lt=timezone.now() - TELL_AGAIN)
    for row in rows.select_related("quota__team", "person"):
        told += _told(row, count=0, by=actor)
    return told


def _amounts(usage: Usage, *, tokens: int, bytes: int, money: int) -> dict[str, int | None]:
    """Return how much a use counts in each unit; None where it does not count in that unit at all."""
    if usage.kind in counts.TRANSFERS:
        return {Unit.CALLS: None, Unit.TOKENS: None, Unit.MONEY: None, Unit.BYTES: bytes}
    return {Unit.CALLS: 1, Unit.TOKENS: tokens, Unit.MONEY: money, Unit.BYTES: None}


def _most(priced: dict, tokens: int) -> int:
    """Return the most that so many tokens can cost, in millionths, with the device for as long as a call may last."""
    each = max(priced.get(name, Decimal(0)) for name in ("tokens", "prompt_tokens", "completion_tokens"))
    dearest = {"tokens": each, "seconds": priced.get("seconds", Decimal(0))}
    found = prices.cost(dearest, prompt_tokens=tokens, completion_tokens=0, seconds=settings.CALL_MAX_SECONDS)
    return int(found * MICRO)


def _refusal(hold: counts.Hold, holds: list[counts.Hold]) -> Exceeded:
    quota = hold.quota
    wait = _seconds(hold.ends_at, timezone.now())
    asked = {
        "quota": str(quota),
        "used": quota.told(hold.used),
        "left": quota.told(hold.left),
        "needed": quota.told(hold.held),
        "when": _when(hold.ends_at),
    }
    if not quota.limit:
        reason = _("The quota of %(quota)s leaves nothing to be used.")
    elif hold.held > quota.limit:
        reason = _(
            "This call can need up to %(needed)s, and the quota of %(quota)s never has as much. Make it smaller."
        )
    elif hold.left:
        reason = _(
            "This call can need up to %(needed)s, and of the quota of %(quota)s %(left)s are left. There is room again "
            "%(when)s; a smaller call may still fit."
        )
    else:
        reason = _("The quota of %(quota)s is used up: %(used)s. There is room again %(when)s.")
    return Exceeded(
        reason % asked,
        retry_after=wait,
        code="rate_limit_exceeded" if quota.window == Window.MINUTE else "insufficient_quota",
        headers=headers(holds),
    )


def _when(moment) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M %Z")


def _seconds(until, now) -> int:
    return max(1, math.ceil((until - now).total_seconds()))


def _tell(person: User, quota: Quota) -> None:
    """Count a refusal, and put it into the ledger unless that was done for this person within the last minute."""
    mine = QuotaRefusal.objects.filter(quota=quota, person=person)
    if mine.filter(told_at__gt=timezone.now() - TELL_AGAIN).update(untold=F("untold") + 1):
        return
    row = mine.select_related("quota__team", "person").first()
    if row is not None:
        if not _told(row, count=1, by=person):
            mine.update(untold=F("untold") + 1)
        return
    try:
        with transaction.atomic():
            QuotaRefusal.objects.create(quota=quota, person=person, told_at=timezone.now())
            _record(person, quota, person, 1)
    except IntegrityError:
        # Somebody else's retry was told first.
        mine.update(untold=F("untold") + 1)


def _told(row: QuotaRefusal, *, count: int, by: User) -> bool:
    """Tell what was refused and not told, and `count` more; return whether nobody else did so meanwhile."""
    with transaction.atomic():
        held = QuotaRefusal.objects.select_for_update(no_key=True).get(pk=row.pk)
        if held.told_at != row.told_at:
            return False
        count += held.untold
        held.told_at, held.untold = timezone.now(), 0
        held.save(update_fields=["told_at", "untold"])
        _record(by, row.quota, row.person, count)
    return True


def _record(actor: User, quota: Quota, person: User, count: int) -> None:
    ledger.record(
        Action.QUOTA_EXCEEDED,
        actor=actor,
        on_behalf_of=None if actor == person else person,
        subject=quota,
        details={"refused": count, "amount": str(quota.amount), "unit": quota.unit, "window": quota.window},
    )


def _warn(person: User, hold: counts.Hold) -> None:
    """Note in the ledger, once in a window, that a quota comes to its end."""
    _row, fresh = QuotaWarning.objects.get_or_create(quota=hold.quota, holder=hold.holder, begins_at=hold.begins_at)
    if not fresh:
        return
    ledger.record(
        Action.QUOTA_NEARED,
        actor=person,
        subject=hold.quota,
        details={
            "used": hold.used,
            "limit": hold.quota.limit,
            "unit": hold.quota.unit,
            "window": hold.quota.window,
            "until": hold.ends_at,
        },
    )
