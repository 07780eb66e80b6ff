"""The PostgreSQL roles of a running site: what each may do with every table, from the models' declarations.

Three kinds of login exist. The owner runs migrations and nothing else. The site (web, workers, scheduler) reads and
writes rows, has no DDL and cannot take triggers off, and may only add to the ledger. The sequencer alone numbers
entries, signs checkpoints and clears what waits for a number. Rights are given to two groups; logins are their members.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from django.apps import apps
from django.db import connections, transaction

from governance.models.governed import Rights, rights

SITE = "gatehouse_site"
SEQUENCER = "gatehouse_sequencing"
GROUPS = (SITE, SEQUENCER)
# What the recorder of migrations calls its own table; it is no model of an app.
_MIGRATIONS = "django_migrations"


class NotPossible(RuntimeError):
    """The roles cannot be made here; the message says why and what to do."""


def tables() -> dict[str, Rights]:
    """Return the rights of the groups on every table that the site knows."""
    found = {
        model._meta.db_table: rights(model)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    }
    return found | {_MIGRATIONS: Rights(site="SELECT")}


def grant(using: str = "default") -> int:
    """Create the two groups where they are missing and give them exactly what is declared; return how many tables.

    Run it as the owner after every `migrate`: a table that it has not seen is closed to both. Raises NotPossible on
    another database than PostgreSQL.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        raise NotPossible("Database roles exist on PostgreSQL; on SQLite the file's permissions are all there is.")
    quote = connection.ops.quote_name
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema()), quote_ident(current_database()), current_user")
        schema, database, owner = cursor.fetchone()
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(GROUPS)])
        there = {name for (name,) in cursor.fetchall()}
        if owner in GROUPS:
            raise NotPossible(f"{owner} is a role of the running site; connect as the owner of the tables.")
        for group in GROUPS:
            if group not in there:
                cursor.execute(f"CREATE ROLE {group} NOLOGIN")
            cursor.execute(f"GRANT CONNECT ON DATABASE {database} TO {group}")
            cursor.execute(f"GRANT USAGE ON SCHEMA {schema} TO {group}")
            cursor.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {group}")
        # What everybody may do by default: make tables of their own, which could stand in front of ours.
        cursor.execute(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")
        cursor.execute(f"REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC")
        known = set(connection.introspection.table_names(cursor))
        given = {name: held for name, held in tables().items() if name in known}
        for name, held in given.items():
            for group, words in ((SITE, held.site), (SEQUENCER, held.sequencer)):
                if words:
                    cursor.execute(f"GRANT {words} ON {schema}.{quote(name)} TO {group}")
    return len(given)


def login(url: str, group: str, using: str = "default") -> str:
    """Create the login that a DATABASE_URL names, or set its password, put it into the group, and return its name.

    The login has no other right than the group's. Raises NotPossible for an address without name and password, or one
    that names the owner.
    """
    parts = urlsplit(url)
    name, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not name or not password:
        raise NotPossible("The address must name a user and a password: postgresql://user:password@host/database.")
    connection = connections[using]
    quoted = connection.ops.quote_name(name)
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        if cursor.fetchone()[0] == name or name in GROUPS:
            raise NotPossible(f"“{name}” owns the tables or is a group; give the running site a login of its own.")
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
        verb = "ALTER" if cursor.fetchone() else "CREATE"
        cursor.execute("SELECT quote_literal(%s)", [password])
        secret = cursor.fetchone()[0]
        cursor.execute(
            f"{verb} ROLE {quoted} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT PASSWORD {secret}"
        )
        for other in GROUPS:
            cursor.execute(
                f"{'GRANT' if other == group else 'REVOKE'} {other} {'TO' if other == group else 'FROM'} {quoted}"
            )
    return name
