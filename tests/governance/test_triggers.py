"""The triggers are on the migrated database; a later migration that rebuilds a table must put them back."""

import importlib

import pytest
from django.db import connection, migrations
from django.db.migrations.executor import MigrationExecutor

pytestmark = pytest.mark.postgres
module = importlib.import_module("governance.migrations.0002_append_only")
queue = importlib.import_module("governance.migrations.0007_ledger_queue")


def installed() -> set[str]:
    """Return the names of the triggers of the ground floor's tables."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        else:
            cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        return {name for (name,) in cursor.fetchall()}


def expected() -> set[str]:
    """Return the names that the migration creates here."""
    make = module.sqlite_statements if connection.vendor == "sqlite" else module.postgresql_statements
    return {statement[0] for statement in make()} | {queue.NAME}


@pytest.mark.django_db
def test_every_trigger_is_there_after_all_migrations():
    missing = expected() - installed()
    assert not missing, (
        f"{sorted(missing)} are gone: a migration rebuilt their table (SQLite does that to alter a column). "
        "Call `install` of governance.migrations.0002_append_only at its end."
    )


@pytest.mark.django_db(transaction=True)
def test_the_triggers_can_be_taken_off_and_put_on_again():
    executor = MigrationExecutor(connection)
    executor.migrate([("governance", "0001_initial")])
    try:
        assert not expected() & installed()
    finally:
        MigrationExecutor(connection).migrate(executor.loader.graph.leaf_nodes())
    assert expected() <= installed()


def test_the_migration_is_reversible():
    (operation,) = module.Migration.operations
    assert isinstance(operation, migrations.RunPython)
    assert operation.reversible
