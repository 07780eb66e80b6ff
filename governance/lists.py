"""The lists of this package: their columns, what narrows them, and what can be done to several rows at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from django.utils.translation import gettext_lazy as _

from governance.interfaces.listings import Column, Listing, Verb, by_id, register
from governance.policy import Permission, Role
from governance.services import people, roles

# A decision is about the digest that somebody looked at, one at a time: reviews have no verb for several.
REVIEWS = register(
    Listing(
        key="reviews",
        title=_("Requests for approval"),
        url="governance:reviews",
        order=("-requested_at", "-id"),
        filters=("show", "gate", "q"),
        columns=(
            Column(
                "subject", _("What is asked"), lambda row: row.subject_label, "title", note=lambda row: row.question,
                link=by_id("governance:review"),
            ),
            Column(
                "state", _("State"), lambda row: row.state, "status",
                mark=lambda row: "overdue" if row.is_overdue else row.state,
            ),
            Column("tier", _("Risk tier"), lambda row: row.tier, "status"),
            Column("due", _("Due"), lambda row: row.due_at, "date", sort="due_at"),
            Column("requester", _("Asked by"), lambda row: row.requester, "person"),
            Column("requested_at", _("When"), lambda row: row.requested_at, "when", sort="requested_at"),
            Column("gate", _("Gate"), lambda row: row.get_gate_display(), usual=False),
            Column("digest", _("Digest"), lambda row: row.digest, "digest", usual=False),
            Column("closed_at", _("Closed"), lambda row: row.closed_at, "when", usual=False),
            Column("because", _("Why it was closed"), lambda row: row.closed_because, usual=False),
        ),
    )
)  # fmt: skip

DUE_FIRST = replace(REVIEWS, order=("due_at", "id"))
"""The same list where something waits to be decided: what should have been decided longest ago comes first."""


def _held(row) -> list[str]:
    """Return the person's live roles in words, each with its team."""
    return [
        f"{held.get_role_display()} · {held.team}" if held.team else held.get_role_display()
        for held in row.role_assignments.all()
    ]


def _grant(role: Role, actor, row, reason: str) -> None:
    roles.grant(actor=actor, user=row, role=role)


PEOPLE = register(
    Listing(
        key="people",
        title=_("People"),
        url="governance:people",
        order=("email",),
        filters=("q", "state", "role"),
        columns=(
            Column(
                "name", _("Name"), str, "title", note=lambda row: row.email,
                link=by_id("governance:person"),
            ),
            Column("account", _("Account"), lambda row: "active" if row.is_active else "inactive", "status"),
            Column("roles", _("Roles"), _held, "chips"),
            Column("joined", _("Joined"), lambda row: row.joined_at, "date"),
            Column("email", _("E-mail address"), lambda row: row.email, "mono", sort="email", usual=False),
            Column("time_zone", _("Time zone"), lambda row: row.time_zone, usual=False),
        ),
        verbs=(
            Verb(
                "deactivate", _("Deactivate"), Permission.PERSON_MANAGE, icon="lock", danger=True,
                act=lambda actor, row, reason: people.deactivate(actor=actor, user=row, reason=reason),
                reason=_("Say why; the auditor will read it."),
                effect=_("They can no longer sign in, and their tokens are refused, at once. You can take them back."),
            ),
            Verb(
                "reactivate", _("Take back"), Permission.PERSON_MANAGE, icon="play",
                act=lambda actor, row, reason: people.reactivate(actor=actor, user=row),
                effect=_("They can sign in again, with the roles and tokens that they had."),
            ),
            Verb(
                "grant-reviewer", _("Make reviewers"), Permission.PERSON_MANAGE, icon="review",
                act=partial(_grant, Role.REVIEWER),
                effect=_("They read everything that is put before a gate and decide about it, never about their own."),
            ),
            Verb(
                "grant-auditor", _("Make auditors"), Permission.PERSON_MANAGE, icon="ledger",
                act=partial(_grant, Role.AUDITOR),
                effect=_("They read everything, the whole ledger too, and change nothing."),
            ),
        ),
    )
)  # fmt: skip


def _subject(row) -> str:
    return f"{row.subject_type}:{row.subject_id}" if row.subject_type else ""


def _number(row):
    return row.sealed.number if hasattr(row, "sealed") else None


LEDGER = register(
    Listing(
        key="ledger",
        title=_("Entries"),
        url="governance:ledger",
        order=("-at", "-id"),
        filters=("actor", "action", "subject", "since", "until"),
        columns=(
            Column(
                "action", _("Did what"), lambda row: row.action, "title",
                link=by_id("governance:ledger_entry"),
            ),
            Column("at", _("When"), lambda row: row.at, "datetime", sort="at"),
            Column("actor", _("Who"), lambda row: row.actor, "person"),
            Column(
                "subject", _("To what"), _subject, "mono",
                link=lambda row: f"?subject={_subject(row)}" if row.subject_type else "",
            ),
            Column("number", _("Number"), _number, "number"),
            Column("on_behalf_of", _("On behalf of"), lambda row: row.on_behalf_of, "person", usual=False),
            Column("digest", _("Digest"), lambda row: row.subject_digest, "digest", usual=False),
            Column("request", _("Request"), lambda row: row.request_id, "mono", usual=False),
        ),
    )
)  # fmt: skip
