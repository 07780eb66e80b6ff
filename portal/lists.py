"""The lists of the site itself: usage, quotas and feedback, their columns and what narrows them."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from governance.interfaces.listings import Column, Listing, Verb, register
from governance.policy import Permission
from portal.models import Feedback, Quota, Usage
from portal.services import quotas


def _used_page(row: Usage) -> str:
    return row.used.get_absolute_url() if row.used is not None else ""


USAGE = register(
    Listing(
        key="usage",
        title=_("Calls and downloads"),
        url="portal:usage_calls",
        order=("-at", "-id"),
        filters=("of", "kind", "outcome", "since", "until"),
        columns=(
            Column(
                "what", _("What"), lambda row: row.what, "title", link=_used_page,
                note=lambda row: row.get_kind_display(),
            ),
            Column("outcome", _("Outcome"), lambda row: row.outcome, "status"),
            Column("person", _("Person"), lambda row: row.person, "person"),
            Column("tokens", _("Tokens"), lambda row: row.tokens, "number"),
            Column("cost", _("Cost"), lambda row: f"{row.cost} {row.currency}"),
            Column("latency_ms", _("Milliseconds"), lambda row: row.latency_ms, "number"),
            Column("at", _("When"), lambda row: row.at, "when", sort="at"),
            Column("client", _("Client"), lambda row: row.client),
            Column("kind", _("Kind"), lambda row: row.kind, usual=False),
            Column("team", _("Team"), lambda row: row.team.slug if row.team else "", "mono", usual=False),
            Column("use_case", _("Use case"), lambda row: row.use_case.title if row.use_case else "", usual=False),
            Column("version", _("Version"), lambda row: row.version.number if row.version else None, usual=False),
            Column("commit", _("Commit"), lambda row: row.commit, "digest", usual=False),
            Column("alias", _("Alias"), lambda row: row.alias, "mono", usual=False),
            Column("prompt_tokens", _("Tokens read"), lambda row: row.prompt_tokens, "number", usual=False),
            Column("completion_tokens", _("Tokens written"), lambda row: row.completion_tokens, "number", usual=False),
            Column("texts", _("Texts"), lambda row: row.texts, "number", usual=False),
            Column("bytes", _("Bytes"), lambda row: row.bytes, "number", usual=False),
            Column("engine", _("Engine"), lambda row: row.engine, usual=False),
            Column("token", _("Token"), lambda row: row.token.name if row.token else "", usual=False),
            Column("request", _("Request"), lambda row: row.request_id, "mono", usual=False),
        ),
    )
)  # fmt: skip


def _end(actor, row: Quota, reason: str) -> None:
    quotas.end(actor=actor, quota=row)


QUOTAS = register(
    Listing(
        key="quotas",
        title=_("Quotas"),
        url="portal:quotas",
        order=("-changed_at", "-id"),
        filters=("subject", "team", "ended"),
        columns=(
            Column(
                "quota", _("Quota"), str, "title", link=lambda row: row.get_absolute_url(),
                note=lambda row: row.get_subject_display(),
            ),
            Column("state", _("State"), lambda row: "ended" if row.ended_at else "live", "status"),
            Column("used", _("Used"), lambda row: row.standing.quota.told(row.standing.used)),
            Column("share", _("Share"), lambda row: row.standing.share / 100, "percent"),
            Column("set_by", _("Set by"), lambda row: row.set_by, "person"),
            Column("changed_at", _("Changed"), lambda row: row.changed_at, "when", sort="changed_at"),
            Column("subject", _("Covers"), lambda row: row.subject, usual=False),
            Column("whom", _("Whom"), lambda row: row.whom, usual=False),
            Column("unit", _("Unit"), lambda row: row.unit, usual=False),
            Column("window", _("Window"), lambda row: row.window, usual=False),
            Column("amount", _("Amount"), lambda row: f"{row.amount.normalize():f}", "mono", usual=False),
            Column("reason", _("Reason"), lambda row: row.reason, usual=False),
        ),
        verbs=(
            Verb(
                "end", _("End"), Permission.QUOTA_MANAGE, icon="stop", danger=True, act=_end,
                effect=_("Nothing is refused because of them any more. What was used stays in the records."),
            ),
        ),
    )
)  # fmt: skip


def _helped(row: Feedback) -> str:
    return "helped" if row.thumb == Feedback.Thumb.UP else "not_helped"


FEEDBACK = register(
    Listing(
        key="feedback",
        title=_("Feedback"),
        url="portal:feedback",
        order=("-changed_at", "-id"),
        filters=("of", "thumb"),
        columns=(
            Column(
                "model", _("Model"), lambda row: str(row.usage.model), "title",
                link=lambda row: row.usage.model.get_absolute_url(),
                note=lambda row: f"v{row.usage.version.number}" if row.usage.version else "",
            ),
            Column("thumb", _("Helped"), _helped, "status"),
            Column("comment", _("Comment"), lambda row: row.comment),
            Column("label", _("Would have been right"), lambda row: row.label),
            Column("person", _("Person"), lambda row: row.usage.person, "person"),
            Column("changed_at", _("Said"), lambda row: row.changed_at, "when", sort="changed_at"),
            Column(
                "use_case", _("Use case"), lambda row: row.usage.use_case.title if row.usage.use_case else "",
                usual=False,
            ),
            Column("call", _("Call"), lambda row: row.usage_id, "mono", usual=False),
            Column("commit", _("Commit"), lambda row: row.usage.commit, "digest", usual=False),
        ),
    )
)  # fmt: skip
