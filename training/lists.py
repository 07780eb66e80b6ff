"""The lists of this package: their columns, what narrows them, and what can be done to several rows at once."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from governance.interfaces.listings import Column, Listing, Verb, by_id, register
from governance.policy import Permission
from governance.services import access
from training.models import Publication
from training.services import jobs, registry


def _page(row) -> str:
    return row.get_absolute_url()


def _result(name: str):
    """Return what reads a figure of the job's evaluation, None where there is no evaluation."""
    return lambda row: getattr(getattr(row, "evaluation", None), name, None)


def _compare(rows: list) -> str:
    return f"{reverse('training:compare')}?{urlencode([('job', row.pk) for row in rows])}"


JOBS = register(
    Listing(
        key="jobs",
        title=_("Jobs"),
        url="training:jobs",
        order=("-submitted_at", "-id"),
        filters=("q", "state", "mine"),
        columns=(
            Column(
                "model", _("Model"), lambda row: row.model_name, "title", link=by_id("training:job"),
                note=lambda row: _("Job %(pk)s · %(case)s") % {"pk": row.pk, "case": row.use_case.title},
            ),
            Column("state", _("State"), lambda row: row.state, "status"),
            Column("result", _("Result"), _result("shown")),
            Column("accuracy", _("Accuracy"), _result("accuracy"), "percent", usual=False),
            Column("macro_f1", _("Macro F1"), _result("macro_f1"), "percent", usual=False),
            Column("submitted_by", _("Submitted by"), lambda row: row.submitted_by, "person"),
            Column("submitted_at", _("Submitted"), lambda row: row.submitted_at, "when", sort="submitted_at"),
            Column("team", _("Team"), lambda row: row.team.slug, "mono", usual=False),
            Column("use_case", _("Use case"), lambda row: row.use_case.title, usual=False),
            Column("recipe", _("Kind of training"), lambda row: row.recipe, usual=False),
            Column("method", _("Method"), lambda row: row.method, usual=False),
            Column("preset", _("Preset"), lambda row: row.preset, usual=False),
            Column("started_at", _("Started"), lambda row: row.started_at, "when", usual=False),
            Column("finished_at", _("Finished"), lambda row: row.finished_at, "when", usual=False),
            Column("error", _("What went wrong"), lambda row: row.error_message, usual=False),
        ),
        verbs=(
            Verb("compare", _("Compare"), Permission.JOB_VIEW, icon="chart", leads=_compare),
            Verb(
                "cancel", _("Cancel"), Permission.JOB_CONTROL, icon="stop", danger=True,
                act=lambda actor, row, reason: jobs.cancel(actor=actor, job=row),
                effect=_("Jobs in the queue end at once; those that run stop after a last checkpoint."),
            ),
            Verb(
                "retry", _("Run again"), Permission.JOB_SUBMIT, icon="retry",
                act=lambda actor, row, reason: jobs.retry(actor=actor, job=row),
                effect=_("Each is queued again as a new job with the same frozen specification."),
            ),
        ),
    )
)  # fmt: skip


def _suspend(actor, row, reason: str) -> None:
    live = list(Publication.objects.live().filter(model=row).select_related("model__team", "version"))
    if not live:
        raise access.Denied("Nothing of this model is published now.", code="not_published", subject=row)
    for publication in live:
        registry.suspend(actor=actor, publication=publication, reason=reason)


def _published(row) -> list[tuple[str, str]]:
    return [("published", f"{one.alias}: v{one.version.number}") for one in row.live]


MODELS = register(
    Listing(
        key="models",
        title=_("Models"),
        url="training:models",
        order=("-changed_at", "-id"),
        filters=("q", "use"),
        label=lambda row: row.title,
        columns=(
            Column("model", _("Model"), lambda row: row.title, "title", note=str, link=_page, sort="title"),
            Column("published", _("Published"), _published, "statuses"),
            Column("use_case", _("Use case"), lambda row: row.use_case.title),
            Column("team", _("Team"), lambda row: row.team),
            Column("changed_at", _("Changed"), lambda row: row.changed_at, "when", sort="changed_at"),
            Column("name", _("Name"), str, "mono", usual=False),
            Column("task", _("Task"), lambda row: row.task, usual=False),
            Column("created_at", _("Created"), lambda row: row.created_at, "when", usual=False),
        ),
        verbs=(
            Verb(
                "suspend", _("Suspend"), Permission.MODEL_RETIRE, icon="pause", danger=True, act=_suspend,
                reason=_("Say why; their users and the auditor will read it."),
                effect=_("Everything that is published of them is no longer served, at once, to anybody."),
            ),
        ),
    )
)  # fmt: skip

BASE_MODELS = register(
    Listing(
        key="base-models",
        title=_("Base models"),
        url="training:base_models",
        order=("name", "id"),
        filters=("q", "state"),
        columns=(
            Column(
                "model", _("Model"), lambda row: row.title, "title", link=_page,
                note=lambda row: f"{row.name} · {row.task}",
            ),
            Column("state", _("State"), lambda row: row.state, "status"),
            Column("licence", _("Licence"), lambda row: row.licence),
            Column("parameters", _("Parameters"), lambda row: row.parameters, "number", sort="parameters"),
            Column("context", _("Context"), lambda row: row.context_length, "number"),
            Column("revision", _("Revision"), lambda row: row.revision, "digest"),
            Column("allowed_by", _("Allowed by"), lambda row: row.allowed_by, "person"),
            Column("name", _("Name"), lambda row: row.name, "mono", sort="name", usual=False),
            Column("family", _("Family"), lambda row: row.family, usual=False),
            Column("languages", _("Languages"), lambda row: row.languages, usual=False),
            Column("imported_by", _("Imported by"), lambda row: row.imported_by, "person", usual=False),
            Column("imported_at", _("Imported"), lambda row: row.imported_at, "when", usual=False),
            Column("reason", _("Reason of the decision"), lambda row: row.decision_reason, usual=False),
        ),
    )
)  # fmt: skip
