"""Lets the emptying of the test database pass the triggers that make the ledger append-only.

A transactional test ends with Django's flush: DELETE on SQLite, TRUNCATE on PostgreSQL, which both are refused there on
purpose. Only the flush of a database whose name marks it as a test database is let through, and only for its own
transaction. Registered by tests/conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def flush_passes_triggers() -> Iterator[None]:
    """Wrap `sql_flush` of the default connection's back end for the length of the session."""
    from django.db import connection

    operations = type(connection.ops)
    original = operations.sql_flush

    def sql_flush(self, style, tables, **options):
        statements = original(self, style, tables, **options)
        if "test" not in str(self.connection.settings_dict["NAME"]) or not statements:
            return statements
        if self.connection.vendor == "postgresql":
            return ["SET LOCAL session_replication_role = replica", *statements]
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
            triggers = cursor.fetchall()
        return [
            *(f"DROP TRIGGER {name}" for name, _ in triggers),
            *statements,
            *(sql for _, sql in triggers),
        ]

    operations.sql_flush = sql_flush
    yield
    operations.sql_flush = original
