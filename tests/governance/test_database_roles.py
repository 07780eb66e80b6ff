"""Each database role does its work and nothing more: real logins on a real PostgreSQL try what must be refused."""

import re
import secrets
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from governance import database_roles
from governance.models import Checkpoint, LedgerEntry, PendingEntry, SealedEntry, User
from governance.models.users import SEQUENCER_READS
from governance.services import ledger
from tests import factories

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def logins(tmp_path):
    """Return (name of the site's login, name of the sequencer's), made by the command, or skip to SQLite's answer."""
    if connection.vendor != "postgresql":
        yield None
        return
    made = {}
    for group in ("site", "sequencer"):
        made[group] = f"t_{group}_{secrets.token_hex(4)}"
        address = f"postgresql://{made[group]}:{quote('p@ss/' + secrets.token_hex(8), safe='')}@host/name\n"
        (tmp_path / group).write_text(address)
    arguments = {f"{group}_url_file": str(tmp_path / group) for group in made}
    call_command("database_roles", **arguments, verbosity=0)
    # Again: nothing may depend on being run once.
    call_command("database_roles", **arguments, verbosity=0)
    yield made["site"], made["sequencer"]
    with connection.cursor() as cursor:
        for name in (*made.values(), *database_roles.GROUPS):
            cursor.execute(f"DROP OWNED BY {name}")
            cursor.execute(f"DROP ROLE {name}")


def connect(name: str):
    """Return a connection of the login; the rig's server trusts whoever reaches its socket."""
    parameters = connection.get_connection_params()
    place = {key: parameters[key] for key in ("dbname", "host", "port") if parameters.get(key)}
    return psycopg.connect(user=name, autocommit=True, **place)


@contextmanager
def acting_as(name: str):
    """Let Django's own connection have the rights of the login and no others."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION AUTHORIZATION {name}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET SESSION AUTHORIZATION")


def test_sqlite_has_no_roles_and_says_so(logins):
    if logins is None:
        with pytest.raises(CommandError, match="on SQLite the file's permissions"):
            call_command("database_roles")


def test_the_site_does_its_work_and_the_sequencer_its_own(logins, alice, carol, team):
    if logins is None:
        return
    site, sequencer = logins
    ledger.ensure_key()
    with acting_as(site):
        use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
        dataset = factories.make_dataset(actor=alice, team=team)
        assert use_case.stage == "approved"
        assert dataset.repository.pk
        assert PendingEntry.objects.count() == LedgerEntry.objects.count()
    with acting_as(sequencer):
        assert ledger.seal() == LedgerEntry.objects.count()
        # It also mails the receipt for the decision, which is recorded and then sealed.
        assert ledger.send_due(actor=User.objects.system())["sent"] == 1
        assert ledger.seal() == 1
    assert SealedEntry.objects.count() == LedgerEntry.objects.count()
    assert Checkpoint.objects.count() == 2
    assert ledger.verify().sound


NOT_FOR_THE_SITE = [
    "ALTER TABLE projects_team DISABLE TRIGGER ALL",
    "ALTER TABLE governance_ledgerentry DISABLE TRIGGER guard_note",
    "DROP TRIGGER guard_update ON projects_team",
    "SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION guard_recorded() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE TABLE mine (id int)",
    "CREATE TEMP TABLE governance_ledgerentry (id bigint)",
    "CREATE SCHEMA mine",
    "DROP TABLE projects_team CASCADE",
    "TRUNCATE projects_team CASCADE",
    "TRUNCATE governance_ledgerentry CASCADE",
    "UPDATE governance_ledgerentry SET action = 'session.signed_in'",
    "DELETE FROM governance_ledgerentry",
    "UPDATE governance_erasabletext SET text = 'something else'",
    "UPDATE governance_decision SET verdict = 'approve'",
    "DELETE FROM governance_decision",
    "INSERT INTO governance_sealedentry (number, entry_id) VALUES (0, 1)",
    "DELETE FROM governance_sealedentry",
    "DELETE FROM governance_pendingentry",
    "INSERT INTO governance_checkpoint (size, root, frontier, note, at) VALUES (1, '', '[]', '', now())",
    "UPDATE governance_checkpoint SET size = 2",
    "INSERT INTO governance_signingkey (public, first_size, at) VALUES ('', 0, now())",
    "DELETE FROM governance_treetile",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('x', 'y', now())",
    "UPDATE auth_permission SET codename = 'x'",
    "CREATE ROLE helper",
    "ALTER ROLE gatehouse_sequencing LOGIN",
    "SET ROLE gatehouse_sequencing",
    "COPY projects_team TO PROGRAM 'cat'",
]
NOT_FOR_THE_SEQUENCER = [
    "SELECT * FROM projects_usecase",
    "SELECT * FROM django_session",
    "SELECT password FROM governance_user",
    "SELECT * FROM governance_user",
    "SELECT data FROM mfa_authenticator",
    "UPDATE governance_user SET is_superuser = true",
    "DELETE FROM governance_erasabletext",
    "SELECT * FROM governance_decision",
    "SELECT * FROM governance_roleassignment",
    "SELECT * FROM governance_apitoken",
    "UPDATE governance_ledgerentry SET action = 'session.signed_in'",
    "DELETE FROM governance_sealedentry",
    "UPDATE governance_checkpoint SET size = 2",
    "DELETE FROM governance_checkpoint",
    "ALTER TABLE governance_checkpoint DISABLE TRIGGER ALL",
    "CREATE TABLE mine (id int)",
    "SET ROLE gatehouse_site",
]


def test_what_would_undo_the_ledger_is_refused_to_both(logins):
    if logins is None:
        return
    allowed = []
    for login, statements in zip(logins, (NOT_FOR_THE_SITE, NOT_FOR_THE_SEQUENCER), strict=True):
        with connect(login) as other:
            for statement in statements:
                try:
                    other.execute(statement)
                except DENIED:
                    continue
                allowed.append(f"{login}: {statement}")
    assert allowed == []


def test_a_governed_table_stays_guarded_for_the_site(logins, team):
    if logins is None:
        return
    with connect(logins[0]) as other, pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        other.execute("UPDATE projects_team SET name = 'Renamed'")


def test_an_address_that_gives_no_login_of_its_own_is_refused(logins, tmp_path: Path):
    if logins is None:
        return
    owner = connection.get_connection_params()["user"]
    for address in ("postgresql://host/name", "postgresql://someone@host/name", f"postgresql://{owner}:x@host/name"):
        (tmp_path / "url").write_text(address)
        with pytest.raises(CommandError):
            call_command("database_roles", site_url_file=str(tmp_path / "url"), verbosity=0)
    with pytest.raises(CommandError):
        call_command("database_roles", site_url_file=str(tmp_path / "not there"), verbosity=0)


def test_every_table_has_rights_that_grant_understands():
    words = {"SELECT", "INSERT", "UPDATE", "DELETE"}
    held = database_roles.tables()
    assert held["governance_ledgerentry"].site == "SELECT, INSERT"
    for name, rights in held.items():
        for given in (rights.site, rights.sequencer):
            assert set(re.sub(r" \([^)]*\)", "", given).split(", ")) <= words | {""}, name
    # The sequencer reads every column of people but what proves who they are.
    assert set(SEQUENCER_READS) == {field.column for field in User._meta.local_concrete_fields} - {"password"}
    assert {name for name, rights in held.items() if rights.sequencer} >= {
        "governance_ledgerentry",
        "governance_pendingentry",
        "governance_sealedentry",
        "governance_checkpoint",
    }
