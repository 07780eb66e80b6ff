"""People: created as employees, changed by themselves, deactivated and taken back by administrators."""

import pytest

from governance.actions import Action
from governance.models import LedgerEntry, User
from governance.policy import Role
from governance.services import access, ledger, people, tokens
from tests.personas import make_person, make_role

pytestmark = pytest.mark.postgres


def test_a_new_person_is_an_employee_and_their_name_is_only_committed_to(frank):
    made = people.create(actor=frank, email=" Grace@Example.ORG ", name="Grace", password=people.first_password())
    assert made.email == "grace@example.org"
    assert [a.role for a in made.role_assignments.all()] == [Role.EMPLOYEE]
    entry = LedgerEntry.objects.get(action=Action.PERSON_CREATED)
    assert b"race" not in bytes(entry.canonical)
    assert ledger.texts_of(entry) == {"email": "grace@example.org", "name": "Grace"}


@pytest.mark.parametrize(
    ("email", "password", "field"),
    [
        ("no address", None, "email"),
        ("", None, "email"),
        ("EVE@example.org", None, "email"),
        ("grace@example.org", "short", "password"),
        ("grace@example.org", "grace@example.org", "password"),
    ],
)
def test_a_person_who_does_not_fit_is_refused_with_the_field(frank, eve, email, password, field):
    with pytest.raises(people.Invalid) as refused:
        people.create(actor=frank, email=email, name="Grace", password=password)
    assert refused.value.field == field


@pytest.mark.parametrize("person", ["alice", "bob", "carol", "dan", "eve"])
def test_only_administrators_look_after_people(personas, person):
    actor, other = personas[person], personas["frank"]
    acts = [
        lambda: people.create(actor=actor, email="grace@example.org", name="Grace"),
        lambda: people.deactivate(actor=actor, user=other, reason="No reason."),
        lambda: people.reactivate(actor=actor, user=other),
        lambda: people.change(actor=actor, user=other, name="Franz", time_zone=""),
    ]
    for act in acts:
        with pytest.raises(access.Denied):
            act()


def test_first_passwords_differ_and_are_strong_enough(frank):
    made = {people.first_password() for _ in range(20)}
    assert len(made) == 20
    assert all(len(password) == 23 for password in made)


def test_one_changes_ones_own_name_and_zone(eve):
    people.change(actor=eve, user=eve, name=" Eva ", time_zone="Europe/Paris")
    eve.refresh_from_db()
    assert (eve.name, eve.time_zone) == ("Eva", "Europe/Paris")
    people.change(actor=eve, user=eve, name="Eva", time_zone="Europe/Paris")
    entry = LedgerEntry.objects.get(action=Action.PERSON_CHANGED)
    assert b"Eva" not in bytes(entry.canonical)
    for name, zone, field in (("", "", "name"), ("x" * 151, "", "name"), ("Eva", "Mars/Olympus", "time_zone")):
        with pytest.raises(people.Invalid) as refused:
            people.change(actor=eve, user=eve, name=name, time_zone=zone)
        assert refused.value.field == field


def test_deactivating_is_refused_for_oneself_the_system_and_without_a_reason(frank, eve, system):
    for user, error in ((frank, access.Denied), (system, access.Denied)):
        with pytest.raises(error):
            people.deactivate(actor=frank, user=user, reason="Because.")
    with pytest.raises(people.Invalid):
        people.deactivate(actor=frank, user=eve, reason=" ")


def test_deactivating_and_taking_back_are_recorded_once(frank, eve, team):
    for _ in range(2):
        people.deactivate(actor=frank, user=eve, reason="Left.")
    assert not access.allows(User.objects.get(pk=eve.pk), "use_case.propose", team)
    for _ in range(2):
        people.reactivate(actor=frank, user=eve)
    assert access.allows(User.objects.get(pk=eve.pk), "use_case.propose", team)
    about = LedgerEntry.objects.about(eve)
    assert about.filter(action=Action.PERSON_DEACTIVATED).count() == 1
    assert about.filter(action=Action.PERSON_CHANGED).count() == 1


def test_another_administrator_can_be_deactivated_while_one_stays(frank):
    other = make_role(make_person("grace"), Role.ADMINISTRATOR)
    people.deactivate(actor=frank, user=other, reason="Left.")
    assert not User.objects.get(pk=other.pk).is_active


def test_a_password_that_an_administrator_gave_must_be_changed_and_makes_no_token(frank):
    made = people.create(actor=frank, email="grace@example.org", name="Grace", password=people.first_password())
    assert made.must_change_password
    with pytest.raises(access.Denied) as refused:
        tokens.create(actor=made, user=made, name="early", scopes=["read"], days=1)
    assert refused.value.code == "first_password"
    people.password_changed(actor=made, how="changed")
    tokens.create(actor=made, user=made, name="now", scopes=["read"], days=1)


def test_people_whom_the_operator_creates_keep_their_password(system):
    made = people.create(actor=system, email="grace@example.org", name="Grace", password=people.first_password())
    assert not made.must_change_password


def test_a_new_first_password_needs_a_reason_and_is_refused_for_oneself(frank, eve, alice):
    password = people.first_password()
    with pytest.raises(people.Invalid) as refused:
        people.set_password(actor=frank, user=eve, password=password)
    assert refused.value.field == "reason"
    for actor, user in ((frank, frank), (alice, eve), (eve, eve)):
        with pytest.raises(access.Denied):
            people.set_password(actor=actor, user=user, password=password, reason="Lost.")
    people.set_password(actor=frank, user=eve, password=password, reason="Lost it.")
    eve.refresh_from_db()
    assert eve.check_password(password)
    assert eve.must_change_password
    entry = LedgerEntry.objects.get(action=Action.PASSWORD_ISSUED)
    assert ledger.texts_of(entry) == {"reason": "Lost it."}
