"""The database itself lets each ledger entry wait for its number; people and entries are named without constraints.

An entry that somebody inserts past the ledger's service is sealed like any other. What a constraint cost a writer is
said in docs/decisions/the-database-queues-entries.md.
"""

from importlib import import_module

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

append_only = import_module("governance.migrations.0002_append_only")

NAME = "ledger_entry_waits"
SQLITE = f"""
CREATE TRIGGER {NAME} AFTER INSERT ON governance_ledgerentry
BEGIN INSERT INTO governance_pendingentry (entry_id) VALUES (NEW.id); END
"""  # noqa: S608 - names of ours
# The schema is written out, so that a temporary table of the same name is not taken for the queue.
POSTGRESQL = f"""
CREATE FUNCTION {NAME}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO <schema>.governance_pendingentry (entry_id) VALUES (NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER {NAME} AFTER INSERT ON governance_ledgerentry FOR EACH ROW EXECUTE FUNCTION {NAME}()
"""  # noqa: S608 - names of ours


def install(apps, schema_editor):
    """Put back the triggers that rebuilding the table took away on SQLite, and add the one that queues."""
    append_only.install(apps, schema_editor)
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "sqlite":
            cursor.execute(SQLITE)
        elif schema_editor.connection.vendor == "postgresql":
            cursor.execute("SELECT quote_ident(current_schema())")
            cursor.execute(POSTGRESQL.replace("<schema>", cursor.fetchone()[0]))


def remove(apps, schema_editor):
    """Drop the trigger; what waits stays."""
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "sqlite":
            cursor.execute(f"DROP TRIGGER IF EXISTS {NAME}")
        elif schema_editor.connection.vendor == "postgresql":
            cursor.execute(f"DROP TRIGGER IF EXISTS {NAME} ON governance_ledgerentry")
            cursor.execute(f"DROP FUNCTION IF EXISTS {NAME}()")


def _person(**options):
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, django.db.models.deletion.PROTECT, related_name="+", db_constraint=False,
        db_index=False, **options,
    )  # fmt: skip


class Migration(migrations.Migration):
    """Changes no row."""

    dependencies = [("governance", "0006_break_glass")]
    operations = [
        migrations.AlterField("ledgerentry", "actor", _person()),
        migrations.AlterField("ledgerentry", "on_behalf_of", _person(null=True)),
        migrations.AlterField(
            "pendingentry",
            "entry",
            models.OneToOneField(
                "governance.ledgerentry",
                django.db.models.deletion.PROTECT,
                primary_key=True,
                related_name="pending",
                serialize=False,
                db_constraint=False,
            ),
        ),
        migrations.RunPython(install, remove),
    ]
