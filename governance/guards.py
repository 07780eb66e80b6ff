"""The triggers that make PostgreSQL refuse a change of a governed table whose transaction records no entry.

Services write first and record after, so the question is asked at commit, by deferred constraint triggers. An insert
into the ledger notes the entry's id in a setting of the transaction; the check looks whether that row is there and was
inserted by this very transaction, so that a note set by hand opens nothing: whoever wants to change a governed row has
to write an entry beside it, which the sequencer will seal. It is a seat belt all the same: an owner of the tables can
take the triggers off. On SQLite only the append-only triggers of the ledger exist.

Installed after every `migrate` from the models' declarations (`governance.models.governed`) and taken off before one
that has something to do, so that a migration may change columns and rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from django.apps import apps
from django.db import connections, transaction

from governance.models.governed import Governed, declaration

LEDGER = "governance_ledgerentry"
PREFIX = "guard_"
"""Every trigger of this module has a name that begins so."""

_FUNCTIONS = """
CREATE OR REPLACE FUNCTION guard_note_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('gatehouse.entry', NEW.id::text, true);
  RETURN NULL;
END $$;

-- Whether the noted entry exists and was inserted by this transaction. A row that can be seen and whose inserting
-- transaction (or savepoint) is still in progress can only be one's own.
CREATE OR REPLACE FUNCTION guard_recorded() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  noted text := nullif(current_setting('gatehouse.entry', true), '');
  mine bigint := pg_current_xact_id()::text::bigint;
  inserted bigint;
  ahead bigint;
BEGIN
  IF noted IS NULL OR noted !~ '^[0-9]{1,18}$' THEN
    RETURN false;
  END IF;
  SELECT xmin::text::bigint INTO inserted FROM <schema>.governance_ledgerentry WHERE id = noted::bigint;
  IF inserted IS NULL THEN
    RETURN false;
  END IF;
  -- Savepoints get their numbers after their transaction; xmin holds the low 32 bits of the number.
  ahead := (inserted - mine % 4294967296 + 4294967296) % 4294967296;
  IF ahead = 0 THEN
    RETURN true;
  END IF;
  RETURN ahead < 2147483648 AND pg_xact_status((mine + ahead)::text::xid8) = 'in progress';
END $$;

CREATE OR REPLACE FUNCTION guard_require_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF guard_recorded() THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '%: the % of row % has no ledger entry in its transaction', TG_TABLE_NAME, TG_OP,
    (CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END) ->> TG_ARGV[0]
    USING ERRCODE = 'integrity_constraint_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
      CONSTRAINT = TG_NAME,
      HINT = 'Make the change through its service, which records it with governance.services.ledger.record.';
END $$;

CREATE OR REPLACE FUNCTION guard_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%: TRUNCATE is refused, since it would remove governed rows without an entry', TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
      HINT = 'Delete rows through the services that record it.';
END $$;
"""


def governed_models() -> list:
    """Return every model whose table is guarded, those of many-to-many relations and of libraries included."""
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and isinstance(declaration(model), Governed)
    ]


def columns_of(model) -> list[str]:
    """Return the columns of the model's own table."""
    return [field.column for field in model._meta.local_concrete_fields]


def statements(model) -> Iterator[tuple[str, str]]:
    """Yield (trigger, statement) for one model's table."""
    table, key, governed = model._meta.db_table, model._meta.pk.column, declaration(model)
    act = f"EXECUTE FUNCTION guard_require_entry('{key}')"
    timing = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"

    def trigger(event: str, name: str, when: str = "") -> tuple[str, str]:
        name = f"{PREFIX}{name}"
        condition = f" WHEN ({when})" if when else ""
        return name, f'CREATE CONSTRAINT TRIGGER {name} AFTER {event} ON "{table}" {timing}{condition} {act}'

    born = ""
    if governed.born is not None:
        column, value = governed.born
        born = f"NEW.\"{column}\" <> '{value}'"
    yield trigger("INSERT", "insert", born)
    yield trigger("DELETE", "delete")
    watched = [column for column in columns_of(model) if column not in governed.operational]
    # The condition is looked at when the row changes, not at commit: a heartbeat leaves nothing to be checked.
    changed = " OR ".join(_changed(column, governed.moves.get(column, ())) for column in watched)
    yield trigger("UPDATE", "update", changed)
    name = f"{PREFIX}truncate"
    yield (
        name,
        f'CREATE TRIGGER {name} BEFORE TRUNCATE ON "{table}" FOR EACH STATEMENT '
        "EXECUTE FUNCTION guard_refuse_truncate()",
    )


def _changed(column: str, moves: tuple[tuple[str, str], ...]) -> str:
    changed = f'OLD."{column}" IS DISTINCT FROM NEW."{column}"'
    if not moves:
        return changed
    listed = ", ".join(f"('{before}', '{after}')" for before, after in moves)
    return f'({changed} AND (OLD."{column}", NEW."{column}") NOT IN ({listed}))'


def _wanted(tables: dict[str, set[str]]) -> dict[tuple[str, str], str]:
    """Return (table, trigger) -> statement for every table that is there with all its columns."""
    wanted = {}
    for model in governed_models():
        table = model._meta.db_table
        # Half-way through a chain of migrations a table may be of another time than the models.
        if LEDGER in tables and set(columns_of(model)) <= tables.get(table, set()):
            wanted |= {(table, name): statement for name, statement in statements(model)}
    if LEDGER in tables:
        name = f"{PREFIX}note"
        statement = f"CREATE TRIGGER {name} AFTER INSERT ON {LEDGER} FOR EACH ROW EXECUTE FUNCTION guard_note_entry()"
        wanted[LEDGER, name] = statement
    return wanted


_TABLES = """
SELECT c.relname, array_agg(a.attname::text) FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace GROUP BY c.relname
"""
_INSTALLED = """
SELECT c.relname, t.tgname, coalesce(obj_description(t.oid, 'pg_trigger'), '') FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgname LIKE 'guard\\_%' AND c.relnamespace = current_schema()::regnamespace
"""


def _digest(statement: str) -> str:
    return hashlib.sha256((_FUNCTIONS + statement).encode()).hexdigest()[:32]


def installed(using: str = "default") -> dict[tuple[str, str], str]:
    """Return (table, trigger) -> digest of the statement that made it, for every guard in the database."""
    with connections[using].cursor() as cursor:
        cursor.execute(_INSTALLED)
        return {(table, name): digest for table, name, digest in cursor.fetchall()}


def missing(using: str = "default") -> list[str]:
    """Return the guards that should be there and are not, as `table.trigger`; none where it is not PostgreSQL."""
    if connections[using].vendor != "postgresql":
        return []
    with connections[using].cursor() as cursor:
        cursor.execute(_TABLES)
        wanted = _wanted({table: set(columns) for table, columns in cursor.fetchall()})
    there = installed(using)
    return sorted(f"{t}.{name}" for (t, name), sql in wanted.items() if there.get((t, name)) != _digest(sql))


def install(using: str = "default") -> int:
    """Make the guards those of the declarations; return how many were created. Only tables that differ are locked."""
    if connections[using].vendor != "postgresql":
        return 0
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(_TABLES)
        wanted = _wanted({table: set(columns) for table, columns in cursor.fetchall()})
        there = installed(using)
        stale = [key for key, digest in there.items() if key not in wanted or digest != _digest(wanted[key])]
        new = [key for key in wanted if key not in there or key in stale]
        for table, name in stale:
            cursor.execute(f'DROP TRIGGER {name} ON "{table}"')
        if new:
            cursor.execute("SELECT quote_ident(current_schema())")
            # Named with its schema: otherwise a temporary table of the same name would be asked instead.
            cursor.execute(_FUNCTIONS.replace("<schema>", cursor.fetchone()[0]))
        for table, name in new:
            cursor.execute(wanted[table, name])
            cursor.execute(f"COMMENT ON TRIGGER {name} ON \"{table}\" IS '{_digest(wanted[table, name])}'")
    return len(new)


def remove(using: str = "default") -> None:
    """Take every guard off."""
    if connections[using].vendor != "postgresql":
        return
    with connections[using].cursor() as cursor:
        for table, name in installed(using):
            cursor.execute(f'DROP TRIGGER {name} ON "{table}"')


def before_migrations(*, plan, using, **_) -> None:
    """Take the guards off where something is about to be migrated; a receiver of `pre_migrate`."""
    if plan:
        remove(using)


def after_migrations(*, using, **_) -> None:
    """Put the guards on; a receiver of `post_migrate`."""
    install(using)
