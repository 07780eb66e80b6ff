"""Who asked for agreement to exactly what, and who decided. A request binds a gate to the digest of what was shown."""

from __future__ import annotations

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from governance.models.governed import Governed, Rights
from governance.policy import GATES, Gate


class ApprovalRequestQuerySet(models.QuerySet):
    """Selections of approval requests."""

    def visible_to(self, user):
        """Return the requests `user` may read: all for reviewers and auditors, else their teams' and their own."""
        from governance.services import access

        return access.visible(self, user, "review.view", scope="scope_id", own=Q(requester=user))

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
        ]

    def __str__(self) -> str:
        return f"{self.question} {self.subject_label}"

    @property
    def question(self) -> str:
        """Return the question that the gate asks."""
        return GATES[Gate(self.gate)].question


class Decision(models.Model):
    """One approver's answer to one request, about the digest they looked at.

    `requester` is copied from the request (a trigger compares it) so that the database itself refuses an approver
    who is the requester.
    """

    class Verdict(models.TextChoices):
        """What the approver said."""

        APPROVE = "approve", "Approve"
        REQUEST_CHANGES = "request_changes", "Request changes"
        REJECT = "reject", "Reject"

    request = models.ForeignKey(ApprovalRequest, models.PROTECT, related_name="decisions")
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="decisions")
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=20, choices=Verdict.choices)
    digest = models.CharField(max_length=64)
    comment = models.TextField(blank=True)
    conditions = models.TextField(blank=True)
    decided_at = models.DateTimeField(default=timezone.now)

    governed = Governed()
    rights = Rights(site="SELECT, INSERT")

    class Meta:
        ordering = ["decided_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "approver"], name="one_decision_per_approver"),
            models.CheckConstraint(condition=~Q(approver=F("requester")), name="requester_never_approves"),
        ]

    def __str__(self) -> str:
        return f"{self.approver}: {self.verdict}"


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
