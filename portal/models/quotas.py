"""Quotas: how much may be used in a minute, an hour, a day or a month, by whom and of what; and what was used of them.

A budget is a quota of money, a rate limit a quota of calls in a minute: one kind of row for all three.
"""

from __future__ import annotations

import datetime
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.models.governed import Exempt, Governed
from governance.policy import Permission
from governance.services import access
from projects.models import Team, UseCase
from training.models import RegisteredModel

MICRO = 1_000_000
"""Money is counted in millionths of the currency, so that every count is a whole number."""


class Window(models.TextChoices):
    """How long a quota lasts before it is whole again; windows follow the clock and the calendar in UTC."""

    MINUTE = "minute", gettext_lazy("a minute")
    HOUR = "hour", gettext_lazy("an hour")
    DAY = "day", gettext_lazy("a day")
    MONTH = "month", gettext_lazy("a month")

    def around(self, at: datetime.datetime) -> tuple[datetime.datetime, datetime.datetime]:
        """Return the beginning of the window that holds this moment, and of the next one."""
        at = at.astimezone(datetime.UTC).replace(second=0, microsecond=0)
        if self == Window.MINUTE:
            return at, at + datetime.timedelta(minutes=1)
        at = at.replace(minute=0)
        if self == Window.HOUR:
            return at, at + datetime.timedelta(hours=1)
        at = at.replace(hour=0)
        if self == Window.DAY:
            return at, at + datetime.timedelta(days=1)
        first = at.replace(day=1)
        return first, (first + datetime.timedelta(days=32)).replace(day=1)


class Unit(models.TextChoices):
    """What is counted. Calls, tokens and money are those of models; bytes are those of downloads and uploads."""

    CALLS = "calls", gettext_lazy("calls")
    TOKENS = "tokens", gettext_lazy("tokens")
    BYTES = "bytes", gettext_lazy("bytes")
    MONEY = "money", gettext_lazy("money")


class QuotaQuerySet(models.QuerySet):
    """Selections of quotas."""

    def visible_to(self, user):
        """Return the quotas of one's teams and those that bind everybody or oneself; all for who reads all."""
        own = Q(person=user) | Q(subject=Quota.Subject.ORGANISATION)
        return access.visible(self, user, Permission.TEAM_VIEW, own=own)

    def in_force(self):
        """Return those that count now."""
        return self.filter(ended_at=None)

    def binding(self, *, person, team=None, model=None, use_case=None):
        """Return those that a use by this person of what belongs to these has to fit into."""
        rule = Q(subject=Quota.Subject.ORGANISATION) | Q(subject=Quota.Subject.PERSON, person=person)
        for subject, what in (("team", team), ("model", model), ("use_case", use_case)):
            if what is not None:
                rule |= Q(**{"subject": subject, subject: what})
        return self.in_force().filter(rule).order_by("pk")


class Quota(models.Model):
    """So much of a unit in each window, for everything that the subject covers.

    With `each_person` everybody has this much for themselves, else all share it. A quota of a team counts the use of
    the team's models and data, whoever uses them; one of a person counts what that person uses, whosever it is.
    """

    class Subject(models.TextChoices):
        """What a quota covers."""

        ORGANISATION = "organisation", gettext_lazy("The whole organisation")
        TEAM = "team", gettext_lazy("A team's models and data")
        MODEL = "model", gettext_lazy("A model")
        USE_CASE = "use_case", gettext_lazy("A use case")
        PERSON = "person", gettext_lazy("A person")

    subject = models.CharField(max_length=12, choices=Subject.choices)
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True, related_name="quotas")
    model = models.ForeignKey(RegisteredModel, models.PROTECT, null=True, blank=True, related_name="quotas")
    use_case = models.ForeignKey(UseCase, models.PROTECT, null=True, blank=True, related_name="quotas")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="quotas")
    each_person = models.BooleanField(default=False)
    window = models.CharField(max_length=8, choices=Window.choices)
    unit = models.CharField(max_length=8, choices=Unit.choices)
    amount = models.DecimalField(max_digits=18, decimal_places=6)
    reason = models.CharField(max_length=300, blank=True)
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    set_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = QuotaQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-changed_at", "-id"]
        indexes = [models.Index(fields=["-changed_at", "-id"], name="quota_changed")]
        constraints = [
            # The team is there for rights: whatever belongs to a team is looked after by the team.
            models.CheckConstraint(
                condition=Q(subject="organisation", team=None, model=None, use_case=None, person=None)
                | Q(subject="team", team__isnull=False, model=None, use_case=None, person=None)
                | Q(subject="model", team__isnull=False, model__isnull=False, use_case=None, person=None)
                | Q(subject="use_case", team__isnull=False, model=None, use_case__isnull=False, person=None)
                | Q(subject="person", team=None, model=None, use_case=None, person__isnull=False, each_person=False),
                name="quota_has_its_subject",
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="quota_is_not_negative"),
            models.UniqueConstraint(
                "subject",
                # Nothing differs from nothing in a unique index, so what is not named counts as zero.
                *(Coalesce(name, 0) for name in ("team", "model", "use_case", "person")),
                "each_person",
                "window",
                "unit",
                condition=Q(ended_at=None),
                name="one_quota_of_a_kind",
            ),
        ]

    def __str__(self) -> str:
        return _("%(amount)s %(window)s for %(whom)s") % {
            "amount": self.told(self.limit), "window": self.get_window_display(), "whom": self.whom,
        }  # fmt: skip

    def get_absolute_url(self) -> str:
        """Return the quota's page."""
        return reverse("portal:quota", args=[self.pk])

    @property
    def scope_id(self) -> int | None:
        """Return the id of the team, or None for what an administrator looks after."""
        return self.team_id

    @property
    def whom(self) -> str:
        """Return in words what it covers."""
        named = {"team": self.team, "model": self.model, "use_case": self.use_case, "person": self.person}
        what = str(named.get(self.subject) or _("the organisation"))
        return _("each person in %(what)s") % {"what": what} if self.each_person else what

    @property
    def limit(self) -> int:
        """Return the amount as it is counted: millionths for money, else whole ones."""
        return int(self.amount * MICRO) if self.unit == Unit.MONEY else int(self.amount)

    def told(self, count: int) -> str:
        """Return a count for a person to read, with its unit."""
        if self.unit == Unit.MONEY:
            return f"{(Decimal(count) / MICRO).normalize():,f} {settings.CURRENCY}"
        return f"{count:,} {self.get_unit_display()}"

    def holder_of(self, person) -> int:
        """Return whose count a use by this person goes to: their own, or the one that all share (0)."""
        return person.pk if self.each_person else 0


class QuotaCount(models.Model):
    """What was used, and is held for calls that run, of one quota in one window; `holder` is a person's id or 0."""

    quota = models.ForeignKey(Quota, models.CASCADE, related_name="counts")
    holder = models.BigIntegerField(default=0)
    begins_at = models.DateTimeField()
    used = models.BigIntegerField(default=0)

    governed = Exempt("A count follows from calls, and each of those is recorded with its usage.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["quota", "holder", "begins_at"], name="one_count_per_window")]

    def __str__(self) -> str:
        return f"{self.quota_id}: {self.used}"


class QuotaWarning(models.Model):
    """That people were told how little is left of a quota in this window; `holder` as for the count."""

    quota = models.ForeignKey(Quota, models.CASCADE, related_name="warnings")
    holder = models.BigIntegerField(default=0)
    begins_at = models.DateTimeField()

    governed = Governed()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["quota", "holder", "begins_at"], name="one_warning_per_window")]

    def __str__(self) -> str:
        return f"{self.quota_id} from {self.begins_at:%Y-%m-%d %H:%M}"


class QuotaRefusal(models.Model):
    """How often a quota refused a person since that was last told to the ledger: a storm of retries is one entry."""

    quota = models.ForeignKey(Quota, models.CASCADE, related_name="refusals")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    told_at = models.DateTimeField()
    untold = models.BigIntegerField(default=0)

    governed = Governed(operational=("untold",))

    class Meta:
        constraints = [models.UniqueConstraint(fields=["quota", "person"], name="one_refusal_per_person")]

    def __str__(self) -> str:
        return f"{self.quota_id}: {self.untold}"
