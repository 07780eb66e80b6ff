"""Triggers: what is written into the ledger stays as it is, and a decision is about what was asked, by someone else.

They are a seat belt; the proof is the signed tree. On SQLite a later migration that rebuilds one of these tables drops
its triggers: call `install` again at its end (tests/governance/test_triggers.py notices).
"""

from django.db import migrations

# Table -> what identifies a row. On SQLite, INSERT OR REPLACE deletes the old row without firing DELETE triggers, so an
# insert that meets an existing row by any of its unique keys is refused.
APPEND_ONLY = {
    "governance_ledgerentry": ["id = NEW.id"],
    "governance_sealedentry": ["number = NEW.number", "entry_id = NEW.entry_id"],
    "governance_checkpoint": ["id = NEW.id", "size = NEW.size"],
    "governance_decision": ["id = NEW.id", "request_id = NEW.request_id AND approver_id = NEW.approver_id"],
}
# Texts may be erased, never rewritten.
ERASABLE = {"governance_erasabletext": ["id = NEW.id", "entry_id = NEW.entry_id AND name = NEW.name"]}

REQUEST = "governance_approvalrequest"
BOUND_COLUMNS = ["gate", "content_type_id", "object_id", "scope_id", "digest", "requester_id", "requested_at"]
FINAL_STATE = (
    "OLD.state <> NEW.state AND OLD.state <> 'open' "
    "AND NOT (OLD.state = 'approved' AND NEW.state IN ('lapsed', 'revoked'))"
)
APPROVED_BY_NOBODY = (
    "NEW.state = 'approved' AND OLD.state <> 'approved' AND NOT EXISTS "
    "(SELECT 1 FROM governance_decision d WHERE d.request_id = NEW.id AND d.verdict = 'approve')"
)
OTHER_REQUESTER = (
    "NOT EXISTS (SELECT 1 FROM governance_approvalrequest r "
    "WHERE r.id = NEW.request_id AND r.requester_id = NEW.requester_id)"
)
OTHER_DIGEST = (
    "NOT EXISTS (SELECT 1 FROM governance_approvalrequest r WHERE r.id = NEW.request_id AND r.digest = NEW.digest)"
)

REFUSALS = [
    # name, table, event, condition, sentence
    ("decision_names_the_requester", "governance_decision", "INSERT", OTHER_REQUESTER,
     "a decision must name the person who asked"),
    ("decision_is_about_what_was_asked", "governance_decision", "INSERT", OTHER_DIGEST,
     "a decision must be about the digest that was asked"),
    ("request_is_born_open", REQUEST, "INSERT", "NEW.state <> 'open'", "a request for approval begins open"),
    ("request_closes_once", REQUEST, "UPDATE", FINAL_STATE, "a closed request for approval stays closed"),
    ("request_needs_an_approver", REQUEST, "UPDATE", APPROVED_BY_NOBODY, "nobody has approved this request"),
]  # fmt: skip


def sqlite_statements():
    """Yield (trigger, statement) for SQLite."""
    for table, keys in {**APPEND_ONLY, **ERASABLE}.items():
        events = ["UPDATE", "DELETE"] if table in APPEND_ONLY else ["UPDATE"]
        for event in events:
            name = f"{table}_no_{event.lower()}"
            yield (
                name,
                (
                    f"CREATE TRIGGER {name} BEFORE {event} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {event} is refused'); END"
                ),
            )
        name = f"{table}_no_replace"
        known = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {key})" for key in keys)  # noqa: S608 - names of ours
        yield (
            name,
            (
                f"CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN {known} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: this row exists'); END"
            ),
        )
    for name, table, event, condition, sentence in REFUSALS:
        yield (
            name,
            (
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {condition} "
                f"BEGIN SELECT RAISE(ABORT, '{sentence}'); END"
            ),
        )
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in [*BOUND_COLUMNS, "snapshot"])
    yield (
        "request_stays_as_asked",
        (
            f"CREATE TRIGGER request_stays_as_asked BEFORE UPDATE ON {REQUEST} WHEN {changed} "
            "BEGIN SELECT RAISE(ABORT, 'what was asked for cannot be changed'); END"
        ),
    )
    yield (
        "request_stays",
        (
            f"CREATE TRIGGER request_stays BEFORE DELETE ON {REQUEST} "
            "BEGIN SELECT RAISE(ABORT, 'a request for approval cannot be deleted'); END"
        ),
    )
    known = f"EXISTS (SELECT 1 FROM {REQUEST} WHERE id = NEW.id)"  # noqa: S608 - names of ours
    yield (
        "request_no_replace",
        (
            f"CREATE TRIGGER request_no_replace BEFORE INSERT ON {REQUEST} WHEN {known} "
            "BEGIN SELECT RAISE(ABORT, 'this request for approval exists'); END"
        ),
    )


POSTGRESQL_FUNCTION = """
CREATE FUNCTION governance_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME;
END $$
"""


def postgresql_statements():
    """Yield (trigger, table, statement) for PostgreSQL."""

    def refuse(name, table, event, sentence, condition=""):
        when = f"WHEN ({condition}) " if condition else ""
        level = "STATEMENT" if event == "TRUNCATE" else "ROW"
        return (
            name,
            table,
            (
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH {level} {when}"
                f"EXECUTE FUNCTION governance_refuse('{sentence}')"
            ),
        )

    for table in {**APPEND_ONLY, **ERASABLE}:
        events = ["UPDATE", "DELETE", "TRUNCATE"] if table in APPEND_ONLY else ["UPDATE"]
        for event in events:
            name = f"{table}_no_{event.lower()}"
            yield refuse(name, table, event, f"{table} is append-only: {event} is refused")
    # A WHEN clause of PostgreSQL may not hold a subquery: the condition stands in a function of its own.
    for name, table, event, condition, sentence in REFUSALS:
        yield (
            name,
            table,
            f"""
CREATE FUNCTION governance_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF {condition} THEN
    RAISE EXCEPTION '{sentence}' USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION governance_{name}()""",
        )
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in [*BOUND_COLUMNS, "snapshot"])
    yield refuse("request_stays_as_asked", REQUEST, "UPDATE", "what was asked for cannot be changed", changed)
    yield refuse("request_stays", REQUEST, "DELETE", "a request for approval cannot be deleted")
    yield refuse("request_no_truncate", REQUEST, "TRUNCATE", "a request for approval cannot be deleted")


def install(apps, schema_editor):
    """Create every trigger; what is there already is replaced."""
    remove(apps, schema_editor)
    vendor = schema_editor.connection.vendor
    with schema_editor.connection.cursor() as cursor:
        if vendor == "sqlite":
            for _name, statement in sqlite_statements():
                cursor.execute(statement)
        elif vendor == "postgresql":
            cursor.execute(POSTGRESQL_FUNCTION)
            for _name, _table, statement in postgresql_statements():
                cursor.execute(statement)


def remove(apps, schema_editor):
    """Drop every trigger."""
    vendor = schema_editor.connection.vendor
    with schema_editor.connection.cursor() as cursor:
        if vendor == "sqlite":
            for name, _statement in sqlite_statements():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        elif vendor == "postgresql":
            for name, table, _statement in postgresql_statements():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
            for name, *_rest in REFUSALS:
                cursor.execute(f"DROP FUNCTION IF EXISTS governance_{name}()")
            cursor.execute("DROP FUNCTION IF EXISTS governance_refuse()")


class Migration(migrations.Migration):
    """Adds the triggers on SQLite and PostgreSQL; removing them loses no data."""

    dependencies = [("governance", "0001_initial")]
    operations = [migrations.RunPython(install, remove)]
