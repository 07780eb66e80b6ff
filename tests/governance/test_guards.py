"""A governed table of PostgreSQL refuses every change whose transaction records no entry, however it is made."""

from datetime import timedelta
from functools import partial

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from guardian.models import UserObjectPermission

from governance import guards
from governance.actions import Action
from governance.models import ApiToken, LedgerEntry, RoleAssignment, Share, User
from governance.policy import Role
from governance.services import ledger, roles, tokens
from projects.models import Dataset, DatasetVersion, Objective, Team, UseCase
from projects.services import teams, use_cases
from tests import factories
from tests.recorded import recorded

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def postgresql() -> bool:
    """Return whether the guards exist here; on SQLite each test says what holds instead."""
    return connection.vendor == "postgresql"


def refused(act, *, names: str = "") -> str:
    """Do something in a transaction of its own; return what the database said, and expect nothing on SQLite."""
    if not postgresql():
        act()
        return ""
    with pytest.raises(IntegrityError) as error, transaction.atomic():
        act()
    said = str(error.value)
    assert names in said
    return said


def test_every_guard_is_on_after_all_migrations():
    assert guards.missing() == []
    if not postgresql():
        assert guards.install() == 0
        return
    there = guards.installed()
    for model in guards.governed_models():
        found = {name for table, name in there if table == model._meta.db_table}
        assert {"guard_insert", "guard_update", "guard_delete", "guard_truncate"} <= found, model
    assert ("governance_ledgerentry", "guard_note") in there


def test_a_change_by_a_queryset_is_refused_and_says_what_where_and_what_to_do(team):
    said = refused(lambda: Team.objects.filter(pk=team.pk).update(name="Renamed"))
    if postgresql():
        assert f"projects_team: the UPDATE of row {team.pk} has no ledger entry in its transaction" in said
        assert "Make the change through its service" in said
        team.refresh_from_db()
        assert team.name == "Help desk"


def test_inserts_bulk_inserts_and_deletes_are_refused(team, alice):
    use_case = factories.make_ready_use_case(actor=alice, team=team)
    refused(lambda: Team.objects.create(slug="shadow", name="Shadow"), names="projects_team: the INSERT")
    rows = [Objective(use_case=use_case, kpi=f"KPI {n}") for n in range(3)]
    refused(lambda: Objective.objects.bulk_create(rows), names="projects_objective: the INSERT")
    refused(lambda: Objective.objects.filter(use_case=use_case).delete(), names="projects_objective: the DELETE")


def test_raw_sql_and_another_client_are_refused_alike(team, eve):
    if not postgresql():
        return
    statement = (
        "INSERT INTO governance_roleassignment (user_id, role, scope_id, granted_by_id, granted_at) "
        "VALUES (%s, 'reviewer', NULL, %s, now())"
    )
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(statement, [eve.pk, eve.pk])
    parameters = connection.get_connection_params()
    known = {name: parameters[name] for name in ("dbname", "user", "host", "port", "password") if parameters.get(name)}
    with psycopg.connect(**known) as other:
        other.execute(statement, [eve.pk, eve.pk])
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            other.commit()
    assert not RoleAssignment.objects.filter(user=eve, role="reviewer").exists()


def test_a_right_written_into_the_permission_table_is_refused(alice, eve, team):
    held = UserObjectPermission.objects.filter(user=alice).first()

    def steal():
        UserObjectPermission.objects.create(
            user=eve, permission=held.permission, content_type=held.content_type, object_pk=held.object_pk
        )

    refused(steal, names="guardian_userobjectpermission")


def test_what_passes_with_an_entry_in_the_same_transaction(team, frank):
    with transaction.atomic():
        Team.objects.filter(pk=team.pk).update(name="Renamed")
        # As the services do it: written first, recorded after, and in a savepoint.
        with transaction.atomic():
            ledger.record(Action.TEAM_CHANGED, actor=frank, subject=team)
    team.refresh_from_db()
    assert team.name == "Renamed"


def test_an_entry_that_was_rolled_back_opens_nothing(team, frank):
    def act():
        Team.objects.filter(pk=team.pk).update(name="Renamed")
        with transaction.atomic():
            ledger.record(Action.TEAM_CHANGED, actor=frank, subject=team)
            transaction.set_rollback(True)
        assert LedgerEntry.objects.filter(action=Action.TEAM_CHANGED).count() == 0

    refused(act, names="projects_team")


def test_a_note_set_by_hand_opens_nothing(team, frank):
    if not postgresql():
        return

    def write(forged: str, before: str = "SELECT 1") -> None:
        with connection.cursor() as cursor:
            cursor.execute(before)
            cursor.execute("SELECT set_config('gatehouse.entry', %s, true)", [forged])
            cursor.execute("UPDATE projects_team SET name = 'Forged' WHERE id = %s", [team.pk])

    newest = LedgerEntry.objects.latest("pk").pk
    for forged in (str(newest), "1", "999999999", "nonsense", "-1", ""):
        refused(partial(write, forged))
    # Nor does a table of one's own in front of the ledger.
    refused(partial(write, "7", "CREATE TEMP TABLE governance_ledgerentry ON COMMIT DROP AS SELECT 7::bigint AS id"))


def test_the_note_of_one_transaction_does_not_serve_the_next(team, frank):
    with transaction.atomic():
        ledger.record(Action.TEAM_CHANGED, actor=frank, subject=team)
    refused(lambda: Team.objects.filter(pk=team.pk).update(name="Later"))


def test_truncate_is_refused(team):
    if not postgresql():
        return
    with pytest.raises(IntegrityError, match="TRUNCATE is refused"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE projects_team CASCADE")


def test_operational_columns_change_without_an_entry_and_the_others_do_not(alice, team):
    token, _secret = tokens.create(actor=alice, user=alice, name="t", scopes=["read"], days=1)
    before = LedgerEntry.objects.count()
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now())
    User.objects.filter(pk=alice.pk).update(last_login=timezone.now())
    assert LedgerEntry.objects.count() == before
    refused(lambda: ApiToken.objects.filter(pk=token.pk).update(scopes=["admin"]), names="governance_apitoken")
    refused(
        lambda: ApiToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now(), name="another"),
        names="governance_apitoken",
    )
    refused(lambda: User.objects.filter(pk=alice.pk).update(is_superuser=True), names="governance_user")


def test_a_version_may_be_taken_up_for_import_and_not_declared_imported(alice, bob, team):
    dataset = factories.make_dataset(actor=bob, team=team)
    with recorded():
        version = DatasetVersion.objects.create(dataset=dataset, number=1, created_by=bob)
    DatasetVersion.objects.filter(pk=version.pk).update(state="importing", token=1, lease_until=timezone.now())
    refused(lambda: DatasetVersion.objects.filter(pk=version.pk).update(state="refused"))
    refused(lambda: DatasetVersion.objects.filter(pk=version.pk).update(state="received"))


def test_only_the_systems_own_account_is_born_without_an_entry(db):
    system = User.objects.system()
    assert system.is_service
    refused(lambda: User.objects.create_user("second@example.org", "x", is_service=True), names="governance_user")
    if postgresql():
        refused(lambda: User.objects.filter(pk=system.pk).update(email="somebody@example.org"))


def test_the_services_pass(alice, frank, eve, team):
    teams.change(actor=frank, team=team, name="Help")
    use_case = factories.make_ready_use_case(actor=alice, team=team)
    use_cases.submit(actor=alice, use_case=use_case)
    held = roles.grant(actor=alice, user=eve, role=Role.DOMAIN_EXPERT, team=team)
    roles.revoke(actor=alice, assignment=held)
    dataset = factories.make_dataset(actor=alice, team=team)
    until = timezone.now() + timedelta(days=1)
    share = roles.share(
        actor=alice, user=eve, permission="dataset.view", subject=dataset, purpose="Look.", expires_at=until
    )
    roles.unshare(actor=alice, share=share)
    assert UseCase.objects.get().stage == "submitted"
    assert Dataset.objects.exists()
    assert not Share.objects.exists()


def test_a_table_rebuilt_by_a_migration_gets_its_guards_back(team):
    if not postgresql():
        return
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER guard_update ON projects_team")
        cursor.execute(
            "CREATE TRIGGER guard_old AFTER INSERT ON projects_team EXECUTE FUNCTION guard_refuse_truncate()"
        )
    assert guards.missing() == ["projects_team.guard_update"]
    call_command("migrate", verbosity=0, interactive=False)
    assert guards.missing() == []
    assert ("projects_team", "guard_old") not in guards.installed()
    refused(lambda: Team.objects.filter(pk=team.pk).update(name="Renamed"))


def test_guards_are_off_while_something_is_migrated_and_only_then():
    if not postgresql():
        guards.before_migrations(plan=[("a migration", False)], using="default")
        return
    guards.before_migrations(plan=[], using="default")
    assert guards.missing() == []
    guards.before_migrations(plan=[("a migration", False)], using="default")
    assert guards.installed() == {}
    guards.after_migrations(using="default")
    assert guards.missing() == []


def test_a_site_whose_guards_a_failed_migration_left_off_is_not_ready_and_the_next_migrate_puts_them_on(client):
    """They are off while a migration runs: it changes tables whose rows wait for the question at commit, which
    PostgreSQL refuses, and rewrites rows for which nobody acted. The site is not ready meanwhile."""
    ready = client.get("/readyz").json()["parts"]["database"]
    assert ready == "ok"
    if not postgresql():
        return
    guards.before_migrations(plan=[("a migration that fails", False)], using="default")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert "guards of governed tables are off" in answer.json()["parts"]["database"]
    # With nothing left to migrate.
    call_command("migrate", verbosity=0, interactive=False)
    assert client.get("/readyz").json()["parts"]["database"] == "ok"


def test_a_table_that_is_not_there_yet_is_left_alone():
    labels = {model._meta.db_table for model in apps.get_models()}
    assert "projects_team" in labels
    assert guards._wanted({"projects_team": {"id", "slug"}}) == {}
    only_ledger = guards._wanted({"governance_ledgerentry": {"id"}, "projects_team": {"id"}})
    assert set(only_ledger) == {("governance_ledgerentry", "guard_note")}
