"""Roles granted, revoked, expired; objects shared: what is refused, and that guardian's rows follow."""

import datetime

import pytest
from django.utils import timezone
from guardian.models import UserObjectPermission

from governance.actions import Action
from governance.models import LedgerEntry, RoleAssignment, Share, User
from governance.policy import APPROVING, ROLE_PERMISSIONS, Role
from governance.services import access, roles
from tests.personas import make_person, make_role

pytestmark = pytest.mark.postgres
LATER = datetime.timedelta(days=30)


@pytest.fixture
def dataset(bob, team):
    """Return a dataset of the team."""
    from projects.services import datasets

    return datasets.register(
        actor=bob, team=team, name="requests", title="Requests", provenance="Exported.", licence="CC0-1.0"
    )


def rows(user, team) -> set[str]:
    """Return guardian's rows of the person on the team."""
    return set(
        UserObjectPermission.objects.filter(user=user, object_pk=str(team.pk)).values_list(
            "permission__codename", flat=True
        )
    )


def test_guardians_rows_follow_the_roles(alice, eve, team):
    steward = roles.grant(actor=alice, user=eve, role=Role.DATA_STEWARD, team=team)
    expert = roles.grant(actor=alice, user=eve, role=Role.DOMAIN_EXPERT, team=team)
    both = ROLE_PERMISSIONS[Role.DATA_STEWARD] | ROLE_PERMISSIONS[Role.DOMAIN_EXPERT]
    assert rows(eve, team) == {p.value for p in both}
    roles.revoke(actor=alice, assignment=steward)
    assert rows(eve, team) == {p.value for p in ROLE_PERMISSIONS[Role.DOMAIN_EXPERT]}
    roles.revoke(actor=alice, assignment=expert)
    assert rows(eve, team) == set()


def test_granting_twice_changes_nothing_and_is_recorded_once(alice, eve, team):
    one = roles.grant(actor=alice, user=eve, role="domain_expert", team=team)
    before = LedgerEntry.objects.filter(action=Action.ROLE_GRANTED).count()
    assert roles.grant(actor=alice, user=eve, role="domain_expert", team=team) == one
    assert LedgerEntry.objects.filter(action=Action.ROLE_GRANTED).count() == before
    until = timezone.now() + LATER
    assert roles.grant(actor=alice, user=eve, role="domain_expert", team=team, expires_at=until).expires_at == until
    assert LedgerEntry.objects.filter(action=Action.ROLE_GRANTED).count() == before + 1


@pytest.mark.parametrize("person", ["bob", "carol", "dan", "eve"])
def test_only_who_manages_members_gives_roles_in_a_team(personas, team, person):
    with pytest.raises(access.Denied):
        roles.grant(actor=personas[person], user=personas["eve"], role=Role.DOMAIN_EXPERT, team=team)


def test_a_team_owner_gives_no_role_elsewhere(alice, eve, other_team):
    for role, place in ((Role.DOMAIN_EXPERT, other_team), (Role.REVIEWER, None), (Role.ADMINISTRATOR, None)):
        with pytest.raises(access.Denied):
            roles.grant(actor=alice, user=eve, role=role, team=place)


def test_an_administrator_does_not_make_themselves_a_reviewer(frank):
    with pytest.raises(access.Denied) as refused:
        roles.grant(actor=frank, user=frank, role=Role.REVIEWER)
    assert refused.value.code == "own_role"


@pytest.mark.parametrize(
    ("role", "in_team", "until", "field"),
    [
        ("king", True, None, "role"),
        (Role.REVIEWER, True, None, "team"),
        (Role.DATA_STEWARD, False, None, "team"),
        (Role.GUEST, True, None, "expires_at"),
        (Role.GUEST, True, -LATER, "expires_at"),
    ],
)
def test_a_role_that_does_not_fit_is_refused_with_its_field(frank, eve, team, role, in_team, until, field):
    with pytest.raises(roles.Invalid) as refused:
        roles.grant(
            actor=frank,
            user=eve,
            role=role,
            team=team if in_team else None,
            expires_at=timezone.now() + until if until else None,
        )
    assert refused.value.field == field
    assert eve.role_assignments.count() == 1


def test_a_closed_account_gets_no_role(frank, eve, system):
    eve.is_active = False
    eve.save()
    for user in (eve, system):
        with pytest.raises(roles.Invalid):
            roles.grant(actor=frank, user=user, role=Role.AUDITOR)


def test_the_last_administrator_keeps_the_role(frank, system):
    held = frank.role_assignments.get(role=Role.ADMINISTRATOR)
    temporary = make_person("grace")
    roles.grant(actor=system, user=temporary, role=Role.ADMINISTRATOR, expires_at=timezone.now() + LATER)
    with pytest.raises(access.Denied) as refused:
        roles.revoke(actor=frank, assignment=held)
    assert refused.value.code == "last_administrator"
    make_role(make_person("heidi"), Role.ADMINISTRATOR)
    roles.revoke(actor=frank, assignment=held)
    assert not access.organisation_allows(User.objects.get(pk=frank.pk), "person.manage")


def test_what_has_ended_is_swept_and_recorded(system, alice, eve, bob, team, dataset):
    held = roles.grant(actor=alice, user=eve, role=Role.GUEST, team=team, expires_at=timezone.now() + LATER)
    share = roles.share(
        actor=alice,
        user=eve,
        permission="dataset.view",
        subject=dataset,
        purpose="Look.",
        expires_at=timezone.now() + LATER,
    )
    assert roles.expire(actor=system) == 0
    RoleAssignment.objects.filter(pk=held.pk).update(expires_at=timezone.now())
    Share.objects.filter(pk=share.pk).update(expires_at=timezone.now())
    assert roles.expire(actor=system) == 2
    assert not UserObjectPermission.objects.filter(user=eve).exists()
    assert LedgerEntry.objects.filter(action=Action.ROLE_EXPIRED, actor=system).count() == 1
    with pytest.raises(access.Denied):
        roles.expire(actor=bob)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"permission": "dataset.upload"}, "permission"),
        ({"permission": "fly"}, "permission"),
        ({"purpose": "  "}, "purpose"),
        ({"days": -1}, "expires_at"),
    ],
)
def test_a_share_that_does_not_fit_is_refused_with_its_field(alice, eve, dataset, change, field):
    arguments = {"permission": "dataset.view", "purpose": "Look.", "days": 30} | change
    until = timezone.now() + datetime.timedelta(days=arguments.pop("days"))
    with pytest.raises(roles.Invalid) as refused:
        roles.share(actor=alice, user=eve, subject=dataset, expires_at=until, **arguments)
    assert refused.value.field == field


def test_a_share_is_given_and_ended_by_who_may_share(alice, bob, carol, eve, frank, dataset):
    arguments = {"user": eve, "permission": "dataset.view", "subject": dataset, "purpose": "Look."}
    for person in (carol, eve, frank):
        with pytest.raises(access.Denied):
            roles.share(actor=person, expires_at=timezone.now() + LATER, **arguments)
    share = roles.share(actor=bob, expires_at=timezone.now() + LATER, **arguments)
    assert share.scope_id == dataset.team_id
    longer = roles.share(actor=alice, expires_at=timezone.now() + 2 * LATER, **arguments)
    assert longer.pk == share.pk
    with pytest.raises(access.Denied):
        roles.unshare(actor=eve, share=longer)
    roles.unshare(actor=alice, share=longer)
    assert not Share.objects.exists()
    assert not UserObjectPermission.objects.filter(user=eve).exists()
    entry = LedgerEntry.objects.filter(action=Action.OBJECT_SHARED).first()
    assert b"Look." not in bytes(entry.canonical)


# What a role would do, and what gets in its way


def test_the_effect_of_a_role_is_told_before_it_is_given(alice, bob, eve, team, other_team, dataset):
    told = roles.effect(user=eve, role=Role.DATA_STEWARD, team=team)
    assert "dataset.upload" in told.new
    assert dict(told.sees)["datasets"] == 1
    assert dict(told.sees)["teams"] == 1
    assert told.conflicts == []
    assert not told.refused
    assert dict(roles.effect(user=eve, role=Role.AUDITOR).sees)["teams"] == 2
    roles.grant(actor=alice, user=eve, role=Role.DOMAIN_EXPERT, team=team)
    again = roles.effect(user=eve, role=Role.DOMAIN_EXPERT, team=team)
    assert (again.new, again.sees) == ([], [])
    assert "dataset.view" in again.already


def test_an_administrator_cannot_become_a_reviewer_nor_the_other_way_round(system, frank, carol):
    for user, role in ((frank, Role.REVIEWER), (carol, Role.ADMINISTRATOR)):
        assert roles.effect(user=user, role=role).refused
        with pytest.raises(access.Denied) as refused:
            roles.grant(actor=system, user=user, role=role)
        assert refused.value.code == "conflicting_roles"
        assert "no say over approvals" in refused.value.reason
        assert not user.role_assignments.filter(role=role).exists()


def test_every_role_that_lets_work_pass_is_kept_from_administrators():
    deciding = {role for role, held in ROLE_PERMISSIONS.items() if held & APPROVING}
    assert Role.REVIEWER in deciding
    for role in deciding:
        assert any(conflict.refused for conflict in roles.conflicts({Role.ADMINISTRATOR}, role)), role
        assert any(conflict.refused for conflict in roles.conflicts({role}, Role.ADMINISTRATOR)), role


def test_a_reviewer_who_builds_is_warned_of_and_not_refused(alice, carol, team):
    told = roles.effect(user=carol, role=Role.ML_ENGINEER, team=team)
    assert [conflict.refused for conflict in told.conflicts] == [False]
    roles.grant(actor=alice, user=carol, role=Role.ML_ENGINEER, team=team)
    assert roles.conflicts({Role.AUDITOR}, Role.REVIEWER)
    assert not roles.conflicts({Role.REVIEWER}, Role.REVIEWER)
    assert not roles.conflicts({Role.EMPLOYEE}, Role.ADMINISTRATOR)
