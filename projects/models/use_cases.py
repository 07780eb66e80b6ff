"""Use cases: a problem, the people it touches, what would be better, and the stage it has reached."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from governance.actions import Action
from governance.models import LedgerEntry
from governance.models.approvals import TIER_CHOICES
from governance.models.governed import Governed
from governance.models.words import WordsField
from governance.policy import TIERS, Gate, Involvement, Permission, RiskTier
from governance.services import access
from projects.models.teams import StrategicGoal, Team


class Stage(models.TextChoices):
    """Where a use case stands in its life."""

    DRAFT = "draft", "Draft"
    SUBMITTED = "submitted", "Submitted"
    APPROVED = "approved", "Approved for development"
    PILOTING = "piloting", "Piloting"
    LIVE = "live", "Live"
    RETIRED = "retired", "Retired"
    REJECTED = "rejected", "Rejected"
    ON_HOLD = "on_hold", "On hold"


@dataclass(frozen=True)
class Transition:
    """A move that is allowed: who may make it by hand, or which gate makes it."""

    source: Stage
    target: Stage
    label: str
    permission: Permission | None = None
    gate: Gate | None = None


_MOVE = Permission.USE_CASE_MOVE
_EDIT = Permission.USE_CASE_EDIT

TRANSITIONS: tuple[Transition, ...] = (
    Transition(Stage.DRAFT, Stage.SUBMITTED, "Submit for review", permission=Permission.REVIEW_REQUEST),
    Transition(Stage.SUBMITTED, Stage.APPROVED, "Approve", gate=Gate.USE_CASE_DEVELOPMENT),
    Transition(Stage.SUBMITTED, Stage.DRAFT, "Back to draft", permission=_EDIT),
    Transition(Stage.SUBMITTED, Stage.REJECTED, "Reject", gate=Gate.USE_CASE_DEVELOPMENT),
    Transition(Stage.REJECTED, Stage.DRAFT, "Rework", permission=_EDIT),
    Transition(Stage.APPROVED, Stage.DRAFT, "Reopen to change", permission=_EDIT),
    Transition(Stage.APPROVED, Stage.PILOTING, "Start the pilot", permission=_MOVE),
    Transition(Stage.APPROVED, Stage.LIVE, "Go live", permission=_MOVE),
    Transition(Stage.PILOTING, Stage.LIVE, "Go live", permission=_MOVE),
    Transition(Stage.PILOTING, Stage.APPROVED, "End the pilot", permission=_MOVE),
    Transition(Stage.LIVE, Stage.APPROVED, "Take out of use", permission=_MOVE),
    Transition(Stage.DRAFT, Stage.ON_HOLD, "Put on hold", permission=_MOVE),
    Transition(Stage.APPROVED, Stage.ON_HOLD, "Put on hold", permission=_MOVE),
    Transition(Stage.ON_HOLD, Stage.DRAFT, "Take up again", permission=_MOVE),
    Transition(Stage.LIVE, Stage.RETIRED, "Retire", permission=_MOVE),
    Transition(Stage.PILOTING, Stage.RETIRED, "Retire", permission=_MOVE),
)
"""Every move there is. A move that is not listed does not exist, whoever asks."""


class UseCaseQuerySet(models.QuerySet):
    """Selections of use cases."""

    def visible_to(self, user):
        """Return the use cases of the user's teams and those they proposed, within what a token is made for."""
        return access.visible(self, user, "use_case.view", own=Q(proposer=user))


class UseCase(models.Model):
    """One thing that a team wants to do with AI. `version` grows with every change of the statement."""

    team = models.ForeignKey(Team, models.PROTECT, related_name="use_cases")
    title = models.CharField(max_length=160)
    problem = models.TextField(help_text="What goes wrong today, how often, and what it costs.")
    people = models.TextField("people affected", help_text="Whom it touches, and how.")
    benefit = models.TextField("expected benefit", help_text="What would be better, in a sentence with a number.")
    data_needed = models.TextField(blank=True, help_text="Which data you have or would need.")
    proposer = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="proposed_use_cases")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="owned_use_cases")
    goals = models.ManyToManyField(StrategicGoal, blank=True, related_name="use_cases")
    human_oversight = models.TextField(
        blank=True, help_text="Who checks the outputs, and what a person can do about a wrong one."
    )
    risk_tier = models.CharField(
        max_length=12,
        choices=TIER_CHOICES,
        blank=True,
        default="",
        db_default="",
        help_text="How much harm it could do; decides who has to agree.",
    )
    risk_tier_reason = models.TextField(
        "reason for the tier", blank=True, default="", db_default="", help_text="Why this tier, in a sentence."
    )
    risk_tier_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    risk_tier_set_at = models.DateTimeField(null=True, blank=True)
    stage = models.CharField(max_length=16, choices=Stage.choices, default=Stage.DRAFT)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    words = WordsField(of=("title", "problem"))

    objects = UseCaseQuerySet.as_manager()
    governed = Governed()

    SEEN_WITH = Permission.USE_CASE_VIEW

    # Both the material and the checklist of a review read these.
    APPROVAL_PREFETCH = ("goals", "objectives", "stakeholders")
    MATERIAL = ("title", "problem", "people", "benefit", "data_needed", "human_oversight")
    TIER = ("risk_tier", "risk_tier_reason")
    FREE_TEXT = frozenset({*MATERIAL, "risk_tier_reason"})

    class Meta:
        ordering = ["-changed_at", "-id"]
        indexes = [
            models.Index(fields=["-changed_at", "-id"], name="use_case_changed"),
            models.Index(fields=["team", "-changed_at", "-id"], name="use_case_team"),
            models.Index(fields=["stage", "-changed_at", "-id"], name="use_case_stage"),
            models.Index(fields=["title", "id"], name="use_case_title"),
            models.Index(fields=["proposer"], name="use_case_proposer"),
            models.Index(fields=["owner", "stage", "-changed_at", "-id"], name="use_case_owner"),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the use case's page."""
        return reverse("projects:use_case", args=[self.pk])

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.team_id

    def seen_besides(self) -> list:
        """Return who sees it without a role or a share: whoever proposed it."""
        return [(self.proposer, "Proposed it", self.created_at)]

    # What the gate "may this use case be developed?" binds to

    def approval_title(self, gate: Gate) -> str:
        """Return what a list of reviews calls it."""
        return self.title

    def approval_predecessor(self, gate: Gate):
        """Return itself: a use case is compared with what was last approved of it."""
        return self

    def approval_material(self, gate: Gate) -> dict:
        """Return everything the reviewer decides on."""
        return {
            "Title": self.title,
            "Team": self.team.slug,
            **self.tier_material(),
            "Problem": self.problem,
            "People affected": self.people,
            "Expected benefit": self.benefit,
            "Data needed": self.data_needed,
            "Human oversight": self.human_oversight,
            "Goals": sorted(goal.title for goal in self.goals.all()),
            "Objectives": [objective.as_text() for objective in self.objectives.all()],
            "Stakeholders": [f"{s.role}: {s.name}" for s in self.stakeholders.all()],
        }

    def tier_material(self) -> dict:
        """Return the part of every gate's material that says how much harm it could do, and why one thinks so."""
        return {
            "Risk tier": self.get_risk_tier_display() if self.risk_tier else "",
            "Reason for the tier": self.risk_tier_reason,
        }

    @property
    def tier_meaning(self) -> str:
        """Return what the tier says about outputs and people."""
        return TIERS[RiskTier(self.risk_tier)].meaning if self.risk_tier else ""

    def approval_tier(self, gate: Gate) -> RiskTier:
        """Return the tier that decides who has to agree."""
        return RiskTier(self.risk_tier)

    def approval_involved(self, gate: Gate) -> list:
        """Return who proposed it, owns it, or wrote what is put before the gate."""
        from governance.services.approvals import Involved

        found = [
            Involved(self.proposer_id, Involvement.PROPOSED, "proposed the use case"),
            Involved(self.owner_id, Involvement.PROPOSED, "took charge of the use case"),
        ]
        if self.risk_tier_set_by_id:
            found.append(Involved(self.risk_tier_set_by_id, Involvement.DESCRIBED, "chose its risk tier"))
        wrote = LedgerEntry.objects.about(self).filter(action=Action.USE_CASE_CHANGED)
        for pk in sorted(set(wrote.order_by().values_list("actor_id", flat=True))):
            found.append(Involved(pk, Involvement.DESCRIBED, "described the use case"))
        return found

    def tier_check(self) -> object:
        """Return the condition of every gate that the tier is chosen, with a reason."""
        from governance.services.approvals import Check

        return Check(
            "The risk tier is chosen, with a reason",
            bool(self.risk_tier and self.risk_tier_reason.strip()),
            "Choose how much harm it could do, and say why; it decides who has to agree.",
            reverse("projects:use_case_edit", args=[self.pk]),
        )

    def approval_checklist(self, gate: Gate) -> list:
        """Return what must be there before a reviewer is asked."""
        from governance.services.approvals import Check

        edit = reverse("projects:use_case_edit", args=[self.pk])
        objectives = list(self.objectives.all())
        return [
            Check("The problem is stated", len(self.problem.split()) >= 5, "Say in a sentence what goes wrong.", edit),
            Check("The people affected are named", bool(self.people.strip()), "Say whom it touches, and how.", edit),
            Check("The data is named", bool(self.data_needed.strip()), "Say which data you have or need.", edit),
            Check(
                "An objective has a number and a date",
                any(o.target is not None and o.due_on for o in objectives),
                "Add an objective with baseline, target, unit and date.",
                f"{self.get_absolute_url()}#objectives",
            ),
            Check(
                "Human oversight is described",
                bool(self.human_oversight.strip()),
                "Say who checks outputs, and what happens with a wrong one.",
                edit,
            ),
            self.tier_check(),
        ]


class ObjectiveQuerySet(models.QuerySet):
    """Selections of objectives."""

    def visible_to(self, user):
        """Return those of the use cases that `user` may see."""
        return self.filter(use_case__in=UseCase.objects.visible_to(user))


class Objective(models.Model):
    """A measurable aim of a use case: this KPI, from this baseline to this target, by this date."""

    class Direction(models.TextChoices):
        """Which way is better."""

        UP = "up", "Higher is better"
        DOWN = "down", "Lower is better"

    use_case = models.ForeignKey(UseCase, models.CASCADE, related_name="objectives")
    kpi = models.CharField("KPI", max_length=160)
    baseline = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    target = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    unit = models.CharField(max_length=40, blank=True)
    direction = models.CharField(max_length=4, choices=Direction.choices, default=Direction.UP)
    due_on = models.DateField(null=True, blank=True)

    objects = ObjectiveQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.kpi

    def as_text(self) -> str:
        """Return the objective as one line that a reviewer reads and binds to."""

        def number(value):
            return "?" if value is None else f"{value.normalize():f}"

        due = f" by {self.due_on.isoformat()}" if self.due_on else ""
        arrow = "up" if self.direction == self.Direction.UP else "down"
        return f"{self.kpi}: {arrow} from {number(self.baseline)} to {number(self.target)} {self.unit}".rstrip() + due


class StakeholderQuerySet(models.QuerySet):
    """Selections of stakeholders."""

    def visible_to(self, user):
        """Return those of the use cases that `user` may see."""
        return self.filter(use_case__in=UseCase.objects.visible_to(user))


class Stakeholder(models.Model):
    """A group or function with a part in the use case (RACI): never a private person's details."""

    class Role(models.TextChoices):
        """The four letters of RACI."""

        RESPONSIBLE = "responsible", "Responsible"
        ACCOUNTABLE = "accountable", "Accountable"
        CONSULTED = "consulted", "Consulted"
        INFORMED = "informed", "Informed"

    use_case = models.ForeignKey(UseCase, models.CASCADE, related_name="stakeholders")
    name = models.CharField(max_length=160)
    role = models.CharField(max_length=16, choices=Role.choices)
    interest = models.CharField(max_length=300, blank=True)

    objects = StakeholderQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="stakeholder_has_a_name")]

    def __str__(self) -> str:
        return self.name
