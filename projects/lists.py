"""The lists of this package: their columns, what narrows them, and what can be done to several rows at once."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from governance.interfaces.listings import Column, Listing, Verb, by_id, register
from governance.policy import Permission
from governance.services import access
from projects.models import DatasetVersion
from projects.models.use_cases import Stage
from projects.services import datasets, use_cases

NOTE = 110
"""Characters of a text that stand under a title."""


def _move(target: Stage):
    """Return the verb's act: make the transition to `target`."""
    return lambda actor, row, reason: use_cases.move(actor=actor, use_case=row, target=target, reason=reason)


def _page(row) -> str:
    return row.get_absolute_url()


def _beginning(text: str) -> str:
    return text if len(text) <= NOTE else f"{text[: NOTE - 1].rstrip()}…"


USE_CASES = register(
    Listing(
        key="use-cases",
        title=_("Use cases"),
        url="projects:use_cases",
        order=("-changed_at", "-id"),
        filters=("q", "stage", "team", "goal", "owner"),
        looks=("view",),
        label=lambda row: row.title,
        columns=(
            Column(
                "title", _("Title"), lambda row: row.title, "title", link=by_id("projects:use_case"), sort="title",
                note=lambda row: _beginning(row.problem),
            ),
            Column(
                "stage", _("Stage"), lambda row: row.stage, "status",
                # The stored word "approved" is also a decision's, so it gets its full name here.
                mark=lambda row: "approved_for_development" if row.stage == Stage.APPROVED else row.stage,
            ),
            Column("team", _("Team"), lambda row: row.team),
            Column("owner", _("Owner"), lambda row: row.owner, "person"),
            Column("changed_at", _("Changed"), lambda row: row.changed_at, "when", sort="changed_at"),
            Column("risk_tier", _("Risk tier"), lambda row: row.get_risk_tier_display(), usual=False),
            Column("problem", _("Problem"), lambda row: row.problem, usual=False),
            Column("people_affected", _("People affected"), lambda row: row.people, usual=False),
            Column("expected_benefit", _("Expected benefit"), lambda row: row.benefit, usual=False),
            Column("data_needed", _("Data needed"), lambda row: row.data_needed, usual=False),
            Column("proposed_at", _("Proposed"), lambda row: row.created_at, "when", usual=False),
            Column("version", _("Version"), lambda row: row.version, "number", usual=False),
        ),
        verbs=(
            Verb(
                "hold", _("Put on hold"), Permission.USE_CASE_MOVE, icon="pause", act=_move(Stage.ON_HOLD),
                effect=_(
                    "They rest until somebody takes them up again. An approval ends: they will be reviewed again."
                ),
            ),
            Verb(
                "resume", _("Take up again"), Permission.USE_CASE_MOVE, icon="play", act=_move(Stage.DRAFT),
                effect=_("They become drafts again, which can be changed and submitted."),
            ),
            Verb(
                "pilot", _("Start the pilot"), Permission.USE_CASE_MOVE, icon="flag", act=_move(Stage.PILOTING),
                effect=_("A few people start to use them. What was approved stays as it is while the pilot runs."),
            ),
            Verb(
                "retire", _("Retire"), Permission.USE_CASE_MOVE, icon="archive", act=_move(Stage.RETIRED), danger=True,
                reason=_("Say why they are retired; their history keeps it."),
                effect=_("Their life ends here and they cannot be taken up again. Their history stays."),
            ),
        ),
    )
)  # fmt: skip


def _withdraw_newest(actor, row, reason: str) -> None:
    newest = DatasetVersion.objects.filter(dataset=row).select_related("dataset__team", "commit").order_by("-number")
    version = newest.first()
    if version is None:
        raise access.Denied("This dataset has no version that could be withdrawn.", code="not_now", subject=row)
    datasets.withdraw(actor=actor, version=version, reason=reason)


def _latest_page(row) -> str:
    return f"{row.get_absolute_url()}versions/{row.latest_number}/" if row.latest_number else ""


DATASETS = register(
    Listing(
        key="datasets",
        title=_("Datasets"),
        url="projects:datasets",
        order=("-changed_at", "-id"),
        filters=("q", "team", "classification", "steward"),
        label=lambda row: row.title,
        columns=(
            Column("title", _("Dataset"), lambda row: row.title, "title", note=str, link=_page, sort="title"),
            Column(
                "latest_version", _("Newest version"), lambda row: f"v{row.latest_number}" if row.latest_number else "",
                link=_latest_page, mark=lambda row: row.latest_state,
            ),
            Column("rows", _("Rows"), lambda row: row.latest_rows, "number"),
            Column("classification", _("Classification"), lambda row: row.classification, "status"),
            Column("steward", _("Steward"), lambda row: row.steward, "person"),
            Column("changed_at", _("Changed"), lambda row: row.changed_at, "when", sort="changed_at"),
            Column("state", _("State of the newest version"), lambda row: row.latest_state, "status", usual=False),
            Column("team", _("Team"), lambda row: row.team.slug, "mono", usual=False),
            Column("name", _("Short name"), lambda row: row.name, "mono", usual=False),
            Column("description", _("Description"), lambda row: row.description, usual=False),
            Column("licence", _("Licence"), lambda row: row.licence, usual=False),
            Column("lawful_basis", _("Lawful basis"), lambda row: row.get_lawful_basis_display(), usual=False),
            Column("region", _("Region"), lambda row: row.region, usual=False),
            Column("keep_until", _("Keep until"), lambda row: row.retention_until, "date", usual=False),
            Column("provenance", _("Provenance"), lambda row: row.provenance, usual=False),
        ),
        verbs=(
            Verb(
                "withdraw", _("Withdraw the newest version"), Permission.DATASET_WITHDRAW, icon="minus", danger=True,
                act=_withdraw_newest, reason=_("Say why; those who used it will read it."),
                effect=_(
                    "The newest version of each is taken out of use at once, whatever it was cleared for. It cannot be "
                    "brought back; a new version can be uploaded."
                ),
            ),
        ),
    )
)  # fmt: skip

TEAMS = register(
    Listing(
        key="teams",
        title=_("Teams"),
        url="projects:teams",
        order=("slug",),
        filters=("q",),
        columns=(
            Column(
                "team",
                _("Team"),
                lambda row: row.name,
                "title",
                link=_page,
                note=lambda row: _beginning(row.description),
            ),
            Column("short_name", _("Short name"), lambda row: row.slug, "mono", sort="slug"),
            Column("people", _("People"), lambda row: row.people, "number"),
            Column("you", _("You"), lambda row: _("member") if row.mine else ""),
            Column("description", _("Description"), lambda row: row.description, usual=False),
        ),
    )
)
