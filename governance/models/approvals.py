"""Who asked for agreement to exactly what, who has to agree, and who decided.

A request binds a gate to the digest of what was shown, and keeps the steps and the exclusions that held when it was
made: a later change of the policy changes no request.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from governance.models.governed import Governed, Rights
from governance.policy import GATES, Gate, Involvement, RiskTier

TIER_CHOICES = [(tier.value, tier.value.capitalize()) for tier in RiskTier]


class ApprovalRequestQuerySet(models.QuerySet):
    """Selections of approval requests."""

    def visible_to(self, user):
        """Return the requests `user` may read: all for reviewers and auditors, else their teams' and their own.

        A person's own are those that they made or decided.
        """
        from governance.services import access

        if not user.is_authenticated:
            return self.none()
        decided = Decision.objects.filter(approver=user).values("request")
        return access.visible(self, user, "review.view", scope="scope_id", own=Q(requester=user) | Q(pk__in=decided))

    def open(self):
        """Return those that wait for a decision."""
        return self.filter(state=ApprovalRequest.State.OPEN)

    def about(self, subject):
        """Return the requests whose subject is this model instance."""
        return self.filter(
            content_type=ContentType.objects.get_for_model(subject, for_concrete_model=True), object_id=subject.pk
        )


class ApprovalRequest(models.Model):
    """`requester` asks that the gate opens for the subject as it was when its material had the digest `digest`."""

    class State(models.TextChoices):
        """Where the request stands; only OPEN can be decided and only APPROVED opens the gate."""

        OPEN = "open", "Waiting for review"
        APPROVED = "approved", "Approved"
        CHANGES_REQUESTED = "changes_requested", "Changes requested"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Withdrawn"
        LAPSED = "lapsed", "Lapsed"
        REVOKED = "revoked", "Revoked"

    gate = models.CharField(max_length=40, choices=[(g.value, g.value.replace("_", " ").capitalize()) for g in Gate])
    content_type = models.ForeignKey(ContentType, models.PROTECT, related_name="+")
    object_id = models.BigIntegerField()
    subject = GenericForeignKey("content_type", "object_id")
    subject_label = models.CharField(max_length=300)
    scope_id = models.BigIntegerField(null=True)
    digest = models.CharField(max_length=64)
    snapshot = models.JSONField()
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="approval_requests")
    note = models.TextField(blank=True)
    state = models.CharField(max_length=20, choices=State.choices, default=State.OPEN)
    requested_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_because = models.CharField(max_length=500, blank=True)
    tier = models.CharField(
        max_length=12, choices=TIER_CHOICES, default=RiskTier.MINIMAL.value, db_default=RiskTier.MINIMAL.value
    )
    due_at = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    escalations = models.PositiveSmallIntegerField(default=0, db_default=0)
    approved_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    compared_with = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")

    objects = ApprovalRequestQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-requested_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["gate", "content_type", "object_id"],
                condition=Q(state="open"),
                name="one_open_request_per_gate_and_subject",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "-requested_at", "-id"], name="approval_state"),
            models.Index(fields=["scope_id", "-requested_at", "-id"], name="approval_scope"),
            models.Index(fields=["content_type", "object_id", "gate"], name="approval_subject"),
            models.Index(fields=["due_at"], condition=Q(state="open"), name="approval_due"),
            models.Index(fields=["expires_at"], condition=Q(state="approved"), name="approval_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.question} {self.subject_label}"

    @property
    def question(self) -> str:
        """Return the question that the gate asks."""
        return GATES[Gate(self.gate)].question

    @property
    def ran_out(self) -> bool:
        """Return whether it was approved and its time is over, whether the sweep has noted that yet or not."""
        return self.approved_at is not None and self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_overdue(self) -> bool:
        """Return whether it waits for longer than its tier allows."""
        return self.state == self.State.OPEN and self.due_at is not None and self.due_at <= timezone.now()


class ApprovalStep(models.Model):
    """`quorum` different people who hold one of `roles` have to approve the request; `met_at`: since when they have.

    `roles` is a list of words with a space before and after each, so that SQL can look for one.
    """

    request = models.ForeignKey(ApprovalRequest, models.PROTECT, related_name="steps")
    key = models.CharField(max_length=40)
    label = models.CharField(max_length=80)
    roles = models.CharField(max_length=300)
    quorum = models.PositiveSmallIntegerField(default=1)
    met_at = models.DateTimeField(null=True, blank=True)

    governed = Governed()
    rights = Rights(site="SELECT, INSERT, UPDATE")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "key"], name="one_step_per_key"),
            models.CheckConstraint(condition=Q(quorum__gte=1), name="step_needs_somebody"),
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.quorum})"


class ApprovalInvolvement(models.Model):
    """`user` had a part in what is put before the gate, which excludes them from deciding; `sentence` says which."""

    request = models.ForeignKey(ApprovalRequest, models.PROTECT, related_name="involvements")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    kind = models.CharField(max_length=20, choices=[(kind.value, kind.value) for kind in Involvement])
    sentence = models.CharField(max_length=300)

    governed = Governed()
    rights = Rights(site="SELECT, INSERT")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["request", "user"], name="one_involvement_per_person")]

    def __str__(self) -> str:
        return f"{self.user} {self.sentence}"


class Decision(models.Model):
    """One approver's answer to one step of one request, about the digest they looked at.

    `requester` is copied from the request (a trigger compares it) so that the database itself refuses an approver
    who is the requester. `on_behalf_of` is the reviewer whose duty a delegate did; nobody's duty is done twice.
    """

    class Verdict(models.TextChoices):
        """What the approver said."""

        APPROVE = "approve", "Approve"
        REQUEST_CHANGES = "request_changes", "Request changes"
        REJECT = "reject", "Reject"

    request = models.ForeignKey(ApprovalRequest, models.PROTECT, related_name="decisions")
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="decisions")
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    step = models.CharField(max_length=40, default="review", db_default="review")
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="delegated_decisions"
    )
    verdict = models.CharField(max_length=20, choices=Verdict.choices)
    digest = models.CharField(max_length=64)
    comment = models.TextField(blank=True)
    conditions = models.TextField(blank=True)
    expires_on = models.DateField(null=True, blank=True)
    decided_at = models.DateTimeField(default=timezone.now)

    governed = Governed()
    rights = Rights(site="SELECT, INSERT")

    class Meta:
        ordering = ["decided_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "approver"], name="one_decision_per_approver"),
            models.CheckConstraint(condition=~Q(approver=F("requester")), name="requester_never_approves"),
            models.UniqueConstraint(F("request"), Coalesce("on_behalf_of", "approver"), name="one_decision_per_duty"),
            models.CheckConstraint(
                condition=Q(on_behalf_of=None) | ~Q(on_behalf_of=F("requester")),
                name="nobody_decides_for_the_requester",
            ),
            models.CheckConstraint(
                condition=Q(on_behalf_of=None) | ~Q(on_behalf_of=F("approver")), name="nobody_delegates_to_themselves"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.approver}: {self.verdict}"


class ApprovalConditionQuerySet(models.QuerySet):
    """Selections of conditions."""

    def in_force(self, user, subjects):
        """Return those of the approvals that stand about these instances of one model, where `user` may read them."""
        if not subjects:
            return self.none()
        kind = ContentType.objects.get_for_model(subjects[0], for_concrete_model=True)
        approved = ApprovalRequest.objects.visible_to(user).filter(
            content_type=kind, object_id__in=[one.pk for one in subjects], state=ApprovalRequest.State.APPROVED
        )
        return self.filter(request__in=approved.values("pk")).select_related("met_by").order_by("request_id", "id")


class ApprovalCondition(models.Model):
    """One thing that has to hold after an approval; once somebody saw that it does: who, when, and how they know."""

    request = models.ForeignKey(ApprovalRequest, models.PROTECT, related_name="conditions")
    decision = models.ForeignKey(Decision, models.PROTECT, related_name="listed_conditions")
    text = models.TextField()
    met_at = models.DateTimeField(null=True, blank=True)
    met_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    met_note = models.TextField(blank=True)

    objects = ApprovalConditionQuerySet.as_manager()
    governed = Governed()
    rights = Rights(site="SELECT, INSERT, UPDATE")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(met_at__isnull=True, met_by__isnull=True) | Q(met_at__isnull=False, met_by__isnull=False),
                name="somebody_saw_the_condition_met",
            )
        ]

    def __str__(self) -> str:
        return self.text[:80]


class ReviewDelegationQuerySet(models.QuerySet):
    """Selections of delegations."""

    def live(self):
        """Return those in force now."""
        now = timezone.now()
        return self.filter(starts_at__lte=now, ends_at__gt=now)

    def beginning(self):
        """Return those made for a later time that has come, and that have not begun yet."""
        return self.live().filter(waits=True)

    def visible_to(self, user):
        """Return the delegations `user` may see: their own on either side, all for who may see people."""
        from governance.services import access

        if access.organisation_allows(user, "person.view"):
            return self
        if not (user.is_authenticated and user.is_active and access.token_permits(user, "person.view")):
            return self.none()
        return self.filter(Q(delegator=user) | Q(delegate=user))


class ReviewDelegation(models.Model):
    """`delegate` does the reviews of `delegator` from `starts_at` until `ends_at`; ending it early moves `ends_at`.

    `waits` holds from when it is made for a later time until the scheduler has given the delegate their role.
    """

    delegator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="delegations_given")
    delegate = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="delegations_received")
    reason = models.CharField(max_length=300, blank=True)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)
    waits = models.BooleanField(default=False, db_default=False)

    objects = ReviewDelegationQuerySet.as_manager()

    governed = Governed()
    rights = Rights(site="SELECT, INSERT, UPDATE")

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(delegator=F("delegate")), name="delegate_is_somebody_else"),
            models.CheckConstraint(condition=Q(ends_at__gte=F("starts_at")), name="delegation_ends_after_it_starts"),
        ]
        indexes = [models.Index(fields=["delegate", "ends_at"], name="delegation_of")]

    def __str__(self) -> str:
        return f"{self.delegator} to {self.delegate}"

    @property
    def state(self) -> str:
        """Return "planned", "in_force" or "ended"."""
        now = timezone.now()
        if self.ends_at <= max(now, self.starts_at):
            return "ended"
        return "planned" if self.starts_at > now else "in_force"


class ApprovalComment(models.Model):
    """Something said about a request without deciding it; `part` names the piece of the snapshot it is about."""

    request = models.ForeignKey(ApprovalRequest, models.PROTECT, related_name="comments")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    part = models.CharField(max_length=300, blank=True)
    text = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    governed = Governed()

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:40]}"
