"""Adds tiles, keys, anchors, receipts to be sent and verifications; tiles, keys and anchors are append-only.

The triggers have a function of their own, so that `install` of 0002_append_only may drop and create its own again.
"""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

# Table -> what identifies a row, as in 0002_append_only.
APPEND_ONLY = {
    "governance_treetile": ["id = NEW.id", 'level = NEW.level AND "index" = NEW."index"'],
    "governance_signingkey": ["id = NEW.id", "public = NEW.public", "first_size = NEW.first_size"],
    "governance_anchor": ["id = NEW.id"],
}

POSTGRESQL_FUNCTION = """
CREATE FUNCTION governance_refuse_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME;
END $$
"""


def sqlite_statements():
    """Yield (trigger, statement) for SQLite."""
    for table, keys in APPEND_ONLY.items():
        for event in ("UPDATE", "DELETE"):
            name = f"{table}_no_{event.lower()}"
            yield (
                name,
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {event} is refused'); END",
            )
        name = f"{table}_no_replace"
        known = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {key})" for key in keys)  # noqa: S608 - names of ours
        yield (
            name,
            f"CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN {known} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: this row exists'); END",
        )


def postgresql_statements():
    """Yield (trigger, table, statement) for PostgreSQL."""
    for table in APPEND_ONLY:
        for event in ("UPDATE", "DELETE", "TRUNCATE"):
            name = f"{table}_no_{event.lower()}"
            level = "STATEMENT" if event == "TRUNCATE" else "ROW"
            yield (
                name,
                table,
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH {level} "
                f"EXECUTE FUNCTION governance_refuse_ledger('{table} is append-only: {event} is refused')",
            )


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
            cursor.execute("DROP FUNCTION IF EXISTS governance_refuse_ledger()")


class Migration(migrations.Migration):
    """Tables are new and empty: the first sealing after it builds the tiles of what is there already."""

    dependencies = [("governance", "0002_append_only")]

    operations = [
        migrations.CreateModel(
            name="Anchor",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=40)),
                ("place", models.CharField(max_length=200)),
                ("size", models.BigIntegerField()),
                ("root", models.BinaryField(max_length=32)),
                ("succeeded", models.BooleanField()),
                ("problem", models.CharField(blank=True, max_length=500)),
                ("proof", models.BinaryField(blank=True, default=b"")),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["kind", "-id"], name="anchor_kind")],
            },
        ),
        migrations.CreateModel(
            name="SigningKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public", models.BinaryField(max_length=32, unique=True)),
                ("first_size", models.BigIntegerField(unique=True)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "rotation",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="governance.ledgerentry",
                    ),
                ),
            ],
            options={"ordering": ["first_size"]},
        ),
        migrations.CreateModel(
            name="TreeTile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("level", models.SmallIntegerField()),
                ("index", models.BigIntegerField()),
                ("hashes", models.BinaryField(max_length=8192)),
                ("root", models.BinaryField(max_length=32)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("level", "index"), name="one_tile_per_place")],
            },
        ),
        migrations.CreateModel(
            name="Receipt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="receipt",
                        to="governance.ledgerentry",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="receipts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-entry_id"],
                "indexes": [
                    models.Index(condition=models.Q(("sent_at", None)), fields=["due_at"], name="receipt_due"),
                    models.Index(fields=["person", "-entry_id"], name="receipt_person"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("requested_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting for a worker"),
                            ("running", "Running"),
                            ("sound", "Sound"),
                            ("unsound", "Not sound"),
                            ("failed", "Could not be finished"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("token", models.PositiveIntegerField(default=0)),
                ("alive_at", models.DateTimeField(blank=True, null=True)),
                ("size", models.BigIntegerField(default=0)),
                ("done", models.BigIntegerField(default=0)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.TextField(blank=True)),
                (
                    "requested_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        models.Value(1),
                        condition=models.Q(("state__in", ["waiting", "running"])),
                        name="one_verification_at_a_time",
                    )
                ],
            },
        ),
        migrations.RunPython(install, remove),
    ]
