"""Who may do what: every role and permission as the policy page says, and every way in which a right ends."""

import datetime

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from governance.models import ApprovalRequest, LedgerEntry, RoleAssignment, Share, User
from governance.policy import (
    GATES,
    ORGANISATION_ROLES,
    ROLE_PERMISSIONS,
    SCOPE_PERMISSIONS,
    SHAREABLE,
    Gate,
    Permission,
    Role,
    TokenScope,
)
from governance.services import access, roles, tokens
from projects.models import Dataset, Team, UseCase
from tests import factories
from tests.personas import make_person

pytestmark = pytest.mark.postgres
LATER = datetime.timedelta(days=30)


@pytest.fixture
def dataset(bob, team):
    """Return a dataset of the team."""
    from projects.services import datasets

    return datasets.register(
        actor=bob, team=team, name="requests", title="Requests", provenance="Exported.", licence="CC0-1.0"
    )


def fresh(user, secret=None) -> User:
    """Return the person as a new request sees them, with the token of `secret` where there is one."""
    if secret is not None:
        return tokens.authenticate(secret).user
    return User.objects.get(pk=user.pk)


def mint(user, *scopes, team=None) -> User:
    """Return the person as a request with a token of these scopes sees them."""
    _token, secret = tokens.create(actor=fresh(user), user=user, name="t", scopes=list(scopes), days=1, team=team)
    return fresh(user, secret)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_gives_exactly_what_the_policy_says_and_only_there(system, team, other_team, role):
    user = make_person("grace")
    RoleAssignment.objects.filter(user=user).delete()
    everywhere = role in ORGANISATION_ROLES
    until = timezone.now() + LATER
    roles.grant(actor=system, user=user, role=role, team=None if everywhere else team, expires_at=until)
    user = fresh(user)
    for permission in Permission:
        held = permission in ROLE_PERMISSIONS[role]
        assert access.allows(user, permission, team) == held, permission
        assert access.allows(user, permission, other_team) == (held and everywhere), permission
        assert access.organisation_allows(user, permission) == (held and everywhere), permission
        if held:
            access.require(user, permission, team)
        else:
            with pytest.raises(access.Denied) as refused:
                access.require(user, permission, team)
            assert permission.value in refused.value.reason


def test_nobody_who_builds_decides_and_nobody_who_decides_builds():
    builds = {Permission.USE_CASE_EDIT, Permission.JOB_SUBMIT, Permission.DATASET_UPLOAD, Permission.MODEL_PUBLISH}
    for role, held in ROLE_PERMISSIONS.items():
        assert not (Permission.REVIEW_DECIDE in held and held & builds), role
    assert Permission.REVIEW_DECIDE not in ROLE_PERMISSIONS[Role.ADMINISTRATOR]
    assert set(GATES) == set(Gate)


def test_the_auditor_changes_nothing():
    # What they say about an emergency is no change of anything but of what is known about it.
    assert all(
        permission.endswith(".view") for permission in ROLE_PERMISSIONS[Role.AUDITOR] - {Permission.BREAK_GLASS_REVIEW}
    )


def test_a_superuser_passes_nothing_but_the_door_of_the_emergency(eve, team):
    eve.is_superuser = eve.is_staff = True
    eve.save()
    user = fresh(eve)
    for permission in Permission:
        expected = permission in ROLE_PERMISSIONS[Role.EMPLOYEE] | {Permission.BREAK_GLASS_OPEN}
        assert access.allows(user, permission, team) == expected
    assert not Team.objects.visible_to(user).exists()


def test_a_person_who_is_not_active_or_not_known_may_nothing(alice, team):
    alice.is_active = False
    alice.save()
    for user in (fresh(alice), AnonymousUser()):
        assert not access.allows(user, Permission.TEAM_VIEW, team)
        assert not Team.objects.visible_to(user).exists()
        assert not UseCase.objects.visible_to(user).exists()
        with pytest.raises(access.Denied):
            access.require(user, Permission.TEAM_VIEW, team)


def test_an_actor_who_is_nobody_is_a_fault_of_the_program(team):
    with pytest.raises(TypeError):
        access.require(None, Permission.TEAM_VIEW, team)


def test_an_unknown_permission_raises(eve):
    with pytest.raises(ValueError, match="fly"):
        access.allows(eve, "team.fly")


def test_a_right_ends_at_its_date_before_any_sweeper_came(system, eve, team):
    until = timezone.now() + LATER
    held = roles.grant(actor=system, user=eve, role=Role.ML_ENGINEER, team=team, expires_at=until)
    assert access.allows(fresh(eve), Permission.JOB_SUBMIT, team)
    RoleAssignment.objects.filter(pk=held.pk).update(expires_at=timezone.now())
    user = fresh(eve)
    assert not access.allows(user, Permission.JOB_SUBMIT, team)
    assert not Team.objects.visible_to(user).exists()


def test_one_role_that_ended_does_not_take_what_another_gives(system, bob, team):
    held = bob.role_assignments.get(role=Role.ML_ENGINEER)
    RoleAssignment.objects.filter(pk=held.pk).update(expires_at=timezone.now())
    user = fresh(bob)
    assert not access.allows(user, Permission.JOB_SUBMIT, team)
    assert access.allows(user, Permission.DATASET_UPLOAD, team)


@pytest.mark.parametrize("scope", list(TokenScope))
def test_a_token_gives_what_its_scope_and_its_person_both_give(alice, team, scope):
    user = mint(alice, scope.value)
    for permission in Permission:
        expected = permission in SCOPE_PERMISSIONS[scope] and permission in (
            ROLE_PERMISSIONS[Role.TEAM_OWNER] | ROLE_PERMISSIONS[Role.EMPLOYEE]
        )
        assert access.allows(user, permission, team) == expected, permission


def test_every_permission_is_in_exactly_one_scope():
    for permission in Permission:
        assert sum(permission in held for held in SCOPE_PERMISSIONS.values()) == 1, permission


def test_a_refused_token_reads_which_scope_is_missing(alice, team):
    with pytest.raises(access.Denied) as refused:
        access.require(mint(alice, "read"), Permission.JOB_SUBMIT, team)
    assert refused.value.code == "token_scope"


def test_a_token_for_one_team_stays_there(frank, team, other_team):
    user = mint(frank, "read", "admin", team=team)
    assert list(Team.objects.visible_to(user)) == [team]
    assert access.allows(user, Permission.TEAM_EDIT, team)
    assert not access.allows(user, Permission.TEAM_EDIT, other_team)
    assert not access.allows(user, Permission.TEAM_CREATE)
    with pytest.raises(access.Denied) as refused:
        access.require(user, Permission.TEAM_EDIT, other_team)
    assert refused.value.code == "token_team"


def test_a_token_that_may_not_read_sees_nothing_of_ones_own(alice, team):
    factories.make_use_case(actor=alice, team=team)
    assert LedgerEntry.objects.visible_to(fresh(alice)).exists()
    for model in (ApprovalRequest, LedgerEntry, RoleAssignment, Share):
        assert not model.objects.visible_to(mint(alice, "predict")).exists(), model


def test_what_is_ones_own_outside_of_its_team_is_hidden_from_a_token_for_that_team(eve, team, other_team):
    factories.make_use_case(actor=eve, team=other_team)
    assert LedgerEntry.objects.visible_to(fresh(eve)).filter(scope_id=other_team.pk).exists()
    limited = LedgerEntry.objects.visible_to(mint(eve, "read", team=team))
    assert not limited.exclude(scope_id=team.pk).exists()


def test_a_share_opens_one_object_until_its_date(alice, eve, dataset, team):
    assert not Dataset.objects.visible_to(fresh(eve)).exists()
    share = roles.share(
        actor=alice,
        user=eve,
        permission="dataset.view",
        subject=dataset,
        purpose="Look at labels.",
        expires_at=timezone.now() + LATER,
    )
    user = fresh(eve)
    assert list(Dataset.objects.visible_to(user)) == [dataset]
    assert access.allows(user, Permission.DATASET_VIEW, dataset)
    assert not access.allows(user, Permission.DATASET_DOWNLOAD, dataset)
    assert not access.allows(user, Permission.DATASET_VIEW, team)
    access.require_somewhere(user, Permission.DATASET_VIEW)
    Share.objects.filter(pk=share.pk).update(expires_at=timezone.now())
    user = fresh(eve)
    with pytest.raises(access.Denied):
        access.require_somewhere(user, Permission.DATASET_VIEW)
    assert not Dataset.objects.visible_to(user).exists()
    assert not access.allows(user, Permission.DATASET_VIEW, dataset)


def test_a_token_limits_a_share_too(alice, eve, dataset, other_team):
    roles.share(
        actor=alice,
        user=eve,
        permission="dataset.view",
        subject=dataset,
        purpose="Look at labels.",
        expires_at=timezone.now() + LATER,
    )
    assert Dataset.objects.visible_to(mint(eve, "read")).exists()
    assert not Dataset.objects.visible_to(mint(eve, "predict")).exists()
    assert not Dataset.objects.visible_to(mint(eve, "read", team=other_team)).exists()


def test_what_may_be_shared_is_what_a_reader_or_a_user_does():
    for held in SHAREABLE.values():
        assert held <= {
            Permission.DATASET_VIEW,
            Permission.DATASET_DOWNLOAD,
            Permission.MODEL_VIEW,
            Permission.MODEL_USE,
        }


def test_holders_are_the_active_people_who_hold_it_now(carol, dan, alice):
    assert list(access.holders(Permission.REVIEW_DECIDE)) == [carol]
    carol.is_active = False
    carol.save()
    assert not access.holders(Permission.REVIEW_DECIDE).exists()


def test_rights_are_read_once_for_a_request(alice, team, django_assert_max_num_queries):
    user = fresh(alice)
    with django_assert_max_num_queries(3):
        for permission in Permission:
            access.organisation_allows(user, permission)
            access.scope_ids(user, permission)


def test_whoever_is_not_signed_in_holds_nothing(team):
    nobody = AnonymousUser()
    assert access.roles_of(nobody) == set()
    assert access.scope_ids(nobody, "team.view") == set()
    assert not access.organisation_allows(nobody, "team.view")
    assert not access.visible(Team.objects.all(), nobody, "team.view", scope="pk").exists()
