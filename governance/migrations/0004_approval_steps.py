"""Steps, tiers, involvement, conditions, delegations, expiry and revocation of approvals, and the triggers over them.

The triggers say in SQL what `services.approvals.say` and `decide` say in Python, so that no other way of writing gets
round it: who may decide, that a gate opens only when everybody whom its steps ask for has approved, and that none of it
is rewritten. A request that is older than this migration gets the one step that it asked for.

On SQLite a later migration that rebuilds a table named here (requests, steps, involvements, decisions, conditions,
delegations, role assignments) calls `remove` before and `install` after: a trigger may not name a table that is away.
"""

import datetime
import importlib

import django.db.models.deletion
import django.db.models.functions.comparison
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

append_only = importlib.import_module("governance.migrations.0002_append_only")

REQUEST = "governance_approvalrequest"
STEP = "governance_approvalstep"
INVOLVEMENT = "governance_approvalinvolvement"
DECISION = "governance_decision"
CONDITION = "governance_approvalcondition"
DELEGATION = "governance_reviewdelegation"

KEPT = [STEP, INVOLVEMENT, CONDITION, DELEGATION]
ALL_REVIEWERS = " legal_reviewer privacy_reviewer reviewer security_reviewer "

# Conditions hold on both databases; {differs} is the null-safe comparison of the one at hand, {steps} the number of steps
# that a request r was shown with.
SQLITE = {"differs": "IS NOT", "steps": "json_array_length(r.snapshot, '$.steps')"}
POSTGRESQL = {"differs": "IS DISTINCT FROM", "steps": "jsonb_array_length(r.snapshot -> 'steps')"}
REFUSALS = [  # every name in them is ours
    # name, table, event, condition, sentence
    ("decision_on_an_open_request", DECISION, "INSERT",
     f"NOT EXISTS (SELECT 1 FROM {REQUEST} r WHERE r.id = NEW.request_id AND r.state = 'open')",
     "only an open request can be decided"),
    ("decision_by_the_uninvolved", DECISION, "INSERT",
     f"EXISTS (SELECT 1 FROM {INVOLVEMENT} i WHERE i.request_id = NEW.request_id "
     "AND (i.user_id = NEW.approver_id OR i.user_id = NEW.on_behalf_of_id))",
     "whoever had a part in it does not decide it"),
    ("decision_by_a_reviewer", DECISION, "INSERT",
     f"NOT EXISTS (SELECT 1 FROM {STEP} s JOIN governance_roleassignment a ON s.roles LIKE '% ' || a.role || ' %' "
     "WHERE s.request_id = NEW.request_id AND s.key = NEW.step AND a.scope_id IS NULL "
     "AND a.user_id = COALESCE(NEW.on_behalf_of_id, NEW.approver_id) "
     "AND (a.expires_at IS NULL OR a.expires_at > NEW.decided_at))",
     "a decision needs a reviewer of the role that the step asks for"),
    ("decision_by_a_delegate", DECISION, "INSERT",
     f"NEW.on_behalf_of_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {DELEGATION} g "
     "WHERE g.delegator_id = NEW.on_behalf_of_id AND g.delegate_id = NEW.approver_id "
     "AND g.starts_at <= NEW.decided_at AND g.ends_at > NEW.decided_at)",
     "deciding on behalf of a reviewer needs their delegation"),
    ("decision_not_by_an_administrator", DECISION, "INSERT",
     "NEW.on_behalf_of_id IS NOT NULL AND EXISTS (SELECT 1 FROM governance_roleassignment a "
     "WHERE a.user_id = NEW.approver_id AND a.role IN ('administrator', 'auditor', 'guest') "
     "AND (a.expires_at IS NULL OR a.expires_at > NEW.decided_at))",
     "nobody hands an approval to an administrator, an auditor or a guest"),
    ("request_needs_its_steps", REQUEST, "UPDATE",
     f"NEW.state = 'approved' AND OLD.state <> 'approved' AND (NOT EXISTS (SELECT 1 FROM {STEP} s "
     f"WHERE s.request_id = NEW.id) OR EXISTS (SELECT 1 FROM {STEP} s WHERE s.request_id = NEW.id AND s.quorum > "
     f"(SELECT COUNT(DISTINCT d.approver_id) FROM {DECISION} d WHERE d.request_id = NEW.id AND d.step = s.key "
     "AND d.verdict = 'approve')))",
     "not everybody whom the steps ask for has approved this request"),
    ("request_is_revoked_once_approved", REQUEST, "UPDATE",
     "NEW.state = 'revoked' AND OLD.state NOT IN ('approved', 'revoked')",
     "only an approval can be revoked"),
    ("request_keeps_its_terms", REQUEST, "UPDATE",
     "OLD.tier {differs} NEW.tier OR OLD.compared_with_id {differs} NEW.compared_with_id "
     "OR OLD.due_at {differs} NEW.due_at OR (OLD.state <> 'open' AND (OLD.approved_at {differs} NEW.approved_at "
     "OR OLD.expires_at {differs} NEW.expires_at))",
     "the terms of a request or an approval cannot be changed"),
    ("step_comes_with_its_request", STEP, "INSERT",
     f"NOT EXISTS (SELECT 1 FROM {REQUEST} r WHERE r.id = NEW.request_id AND r.state = 'open') "
     f"OR (SELECT COUNT(*) FROM {STEP} s WHERE s.request_id = NEW.request_id) >= "
     f"(SELECT COALESCE({{steps}}, 0) FROM {REQUEST} r WHERE r.id = NEW.request_id)",
     "the steps of a request are written when it is made"),
    ("step_stays_as_asked", STEP, "UPDATE",
     "OLD.request_id {differs} NEW.request_id OR OLD.key {differs} NEW.key OR OLD.roles {differs} NEW.roles "
     "OR OLD.quorum {differs} NEW.quorum OR OLD.met_at IS NOT NULL",
     "a step of a request cannot be changed"),
    ("involvement_comes_with_its_request", INVOLVEMENT, "INSERT",
     f"NOT EXISTS (SELECT 1 FROM {REQUEST} r WHERE r.id = NEW.request_id AND r.state = 'open')",
     "who had a part in it is written when a request is made"),
    ("involvement_stays", INVOLVEMENT, "UPDATE", "NEW.id IS NOT NULL", "who had a part in a request cannot be changed"),
    ("condition_is_met_once", CONDITION, "UPDATE",
     "OLD.request_id {differs} NEW.request_id OR OLD.decision_id {differs} NEW.decision_id "
     "OR OLD.text {differs} NEW.text OR OLD.met_at IS NOT NULL",
     "a condition of an approval cannot be changed"),
    ("delegation_only_ends", DELEGATION, "UPDATE",
     "OLD.delegator_id {differs} NEW.delegator_id OR OLD.delegate_id {differs} NEW.delegate_id "
     "OR OLD.starts_at {differs} NEW.starts_at OR NEW.ends_at > OLD.ends_at",
     "a delegation can only be ended"),
]  # fmt: skip

# On SQLite, INSERT OR REPLACE deletes the old row without firing DELETE triggers.
UNIQUE = {
    DECISION: (
        "request_id = NEW.request_id AND "
        "COALESCE(on_behalf_of_id, approver_id) = COALESCE(NEW.on_behalf_of_id, NEW.approver_id)"
    ),
    STEP: "id = NEW.id OR (request_id = NEW.request_id AND key = NEW.key)",
    INVOLVEMENT: "id = NEW.id OR (request_id = NEW.request_id AND user_id = NEW.user_id)",
    CONDITION: "id = NEW.id",
    DELEGATION: "id = NEW.id",
}


def sqlite_statements():
    """Yield (trigger, statement) for SQLite."""
    for name, table, event, condition, sentence in REFUSALS:
        when = condition.format(**SQLITE)
        yield (
            name,
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {when} BEGIN SELECT RAISE(ABORT, '{sentence}'); END",
        )
    for table in KEPT:
        name = f"{table}_no_delete"
        yield (
            name,
            f"CREATE TRIGGER {name} BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is kept'); END",
        )
    for table, same in UNIQUE.items():
        name = f"{table}_no_second"
        yield (
            name,
            f"CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "
            f"BEGIN SELECT RAISE(ABORT, '{table}: this row exists'); END",
        )


def postgresql_statements():
    """Yield (trigger, table, statement) for PostgreSQL; each trigger has a function of its own name."""
    for name, table, event, condition, sentence in REFUSALS:
        yield name, table, _postgresql(name, table, event, condition.format(**POSTGRESQL), sentence)
    for table in KEPT:
        for event in ("DELETE", "TRUNCATE"):
            name = f"{table}_no_{event.lower()}"
            yield name, table, _postgresql(name, table, event, "true", f"{table} is kept")


def _postgresql(name, table, event, condition, sentence):
    level, result = ("STATEMENT", "NULL") if event == "TRUNCATE" else ("ROW", "NEW")
    return f"""
CREATE FUNCTION governance_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF {condition} THEN
    RAISE EXCEPTION '{sentence}' USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME;
  END IF;
  RETURN {result};
END $$;
CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH {level} EXECUTE FUNCTION governance_{name}()"""


def install(apps, schema_editor):
    """Create every trigger, those of 0002 as well: on SQLite, rebuilding a table has dropped them."""
    append_only.install(apps, schema_editor)
    remove(apps, schema_editor)
    vendor = schema_editor.connection.vendor
    made = sqlite_statements() if vendor == "sqlite" else postgresql_statements() if vendor == "postgresql" else ()
    with schema_editor.connection.cursor() as cursor:
        for *_names, statement in made:
            cursor.execute(statement)


def remove(apps, schema_editor):
    """Drop the triggers of this migration."""
    vendor = schema_editor.connection.vendor
    with schema_editor.connection.cursor() as cursor:
        if vendor == "sqlite":
            for name, _statement in sqlite_statements():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        elif vendor == "postgresql":
            for name, table, _statement in postgresql_statements():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
                cursor.execute(f"DROP FUNCTION IF EXISTS governance_{name}()")


def remove_all(apps, schema_editor):
    """Drop these triggers and those of 0002, so that their tables can be rebuilt on the way back."""
    remove(apps, schema_editor)
    append_only.remove(apps, schema_editor)


def fill(apps, schema_editor):
    """Give requests that are there the one step, the time of approval and the due date that they had in effect."""
    requests = apps.get_model("governance", "ApprovalRequest")
    steps = apps.get_model("governance", "ApprovalStep")
    requests.objects.filter(state="approved").update(approved_at=models.F("closed_at"))
    rows = requests.objects.order_by("pk").values_list("pk", "state", "closed_at", "requested_at")
    for pk, state, closed_at, requested_at in rows.iterator(chunk_size=1000):
        met_at = closed_at if state == "approved" else None
        steps.objects.create(
            request_id=pk, key="review", label="A reviewer", roles=ALL_REVIEWERS, quorum=1, met_at=met_at
        )
        requests.objects.filter(pk=pk).update(due_at=requested_at + datetime.timedelta(days=5))


class Migration(migrations.Migration):
    """Adds columns and tables; what is there keeps its meaning. Going back loses steps, conditions and delegations."""

    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("governance", "0003_ledger_keys"),
    ]

    operations = [
        migrations.RunPython(append_only.remove, append_only.install),
        migrations.AddField(
            model_name="approvalrequest",
            name="approved_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="compared_with",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="governance.approvalrequest",
            ),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="due_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="escalated_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="escalations",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="expires_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="tier",
            field=models.CharField(
                choices=[("minimal", "Minimal"), ("limited", "Limited"), ("high", "High")],
                db_default="minimal",
                default="minimal",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="decision",
            name="expires_on",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="decision",
            name="on_behalf_of",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="delegated_decisions",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="decision",
            name="step",
            field=models.CharField(db_default="review", default="review", max_length=40),
        ),
        migrations.AlterField(
            model_name="approvalrequest",
            name="state",
            field=models.CharField(
                choices=[
                    ("open", "Waiting for review"),
                    ("approved", "Approved"),
                    ("changes_requested", "Changes requested"),
                    ("rejected", "Rejected"),
                    ("withdrawn", "Withdrawn"),
                    ("lapsed", "Lapsed"),
                    ("revoked", "Revoked"),
                ],
                default="open",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="roleassignment",
            name="role",
            field=models.CharField(
                choices=[
                    ("employee", "Employee"),
                    ("business_analyst", "Business analyst"),
                    ("project_manager", "Project manager"),
                    ("domain_expert", "Domain expert"),
                    ("data_steward", "Data steward"),
                    ("data_scientist", "Data scientist"),
                    ("ml_engineer", "ML engineer"),
                    ("team_owner", "Team owner"),
                    ("guest", "Guest"),
                    ("reviewer", "Reviewer"),
                    ("legal_reviewer", "Legal reviewer"),
                    ("privacy_reviewer", "Privacy reviewer"),
                    ("security_reviewer", "Security reviewer"),
                    ("review_delegate", "Review delegate"),
                    ("auditor", "Auditor"),
                    ("administrator", "Administrator"),
                ],
                max_length=32,
            ),
        ),
        migrations.CreateModel(
            name="ApprovalCondition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.TextField()),
                ("met_at", models.DateTimeField(blank=True, null=True)),
                ("met_note", models.TextField(blank=True)),
                (
                    "decision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="listed_conditions",
                        to="governance.decision",
                    ),
                ),
                (
                    "met_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="conditions",
                        to="governance.approvalrequest",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ApprovalInvolvement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("proposed", "proposed"),
                            ("described", "described"),
                            ("prepared_data", "prepared_data"),
                            ("trained", "trained"),
                        ],
                        max_length=20,
                    ),
                ),
                ("sentence", models.CharField(max_length=300)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="involvements",
                        to="governance.approvalrequest",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ApprovalStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=40)),
                ("label", models.CharField(max_length=80)),
                ("roles", models.CharField(max_length=300)),
                ("quorum", models.PositiveSmallIntegerField(default=1)),
                ("met_at", models.DateTimeField(blank=True, null=True)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="steps",
                        to="governance.approvalrequest",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ReviewDelegation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("starts_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ends_at", models.DateTimeField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "delegate",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="delegations_received",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "delegator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="delegations_given",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-starts_at", "-id"],
            },
        ),
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(condition=models.Q(("state", "open")), fields=["due_at"], name="approval_due"),
        ),
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(
                condition=models.Q(("state", "approved")), fields=["expires_at"], name="approval_expiry"
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.UniqueConstraint(
                models.F("request"),
                django.db.models.functions.comparison.Coalesce("on_behalf_of", "approver"),
                name="one_decision_per_duty",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("on_behalf_of", None),
                    models.Q(("on_behalf_of", models.F("requester")), _negated=True),
                    _connector="OR",
                ),
                name="nobody_decides_for_the_requester",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("on_behalf_of", None),
                    models.Q(("on_behalf_of", models.F("approver")), _negated=True),
                    _connector="OR",
                ),
                name="nobody_delegates_to_themselves",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalcondition",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("met_at__isnull", True), ("met_by__isnull", True)),
                    models.Q(("met_at__isnull", False), ("met_by__isnull", False)),
                    _connector="OR",
                ),
                name="somebody_saw_the_condition_met",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalinvolvement",
            constraint=models.UniqueConstraint(fields=("request", "user"), name="one_involvement_per_person"),
        ),
        migrations.AddConstraint(
            model_name="approvalstep",
            constraint=models.UniqueConstraint(fields=("request", "key"), name="one_step_per_key"),
        ),
        migrations.AddConstraint(
            model_name="approvalstep",
            constraint=models.CheckConstraint(condition=models.Q(("quorum__gte", 1)), name="step_needs_somebody"),
        ),
        migrations.AddIndex(
            model_name="reviewdelegation",
            index=models.Index(fields=["delegate", "ends_at"], name="delegation_of"),
        ),
        migrations.AddConstraint(
            model_name="reviewdelegation",
            constraint=models.CheckConstraint(
                condition=models.Q(("delegator", models.F("delegate")), _negated=True), name="delegate_is_somebody_else"
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewdelegation",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gte", models.F("starts_at"))), name="delegation_ends_after_it_starts"
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(install, remove_all),
    ]
