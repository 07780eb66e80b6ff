"""The six people of every test: alice owns a team, bob works in it, carol reviews, dan audits, eve is an outsider,
frank administers. They hold their roles through the services that production uses."""

import pytest
from django.db import transaction

from governance.models import RoleAssignment, User
from governance.policy import Role
from governance.services import access, roles

PASSWORD = "correct-horse-battery-9"


@transaction.atomic
def make_person(name: str) -> User:
    """Return the persona with this first name, who is an employee."""
    user = User.objects.create_user(f"{name}@example.org", PASSWORD, name=name.capitalize())
    roles.grant(actor=User.objects.system(), user=user, role=Role.EMPLOYEE)
    return user


def make_role(user: User, role: Role, team=None) -> User:
    """Give the persona a role and return them, their rights read afresh."""
    roles.grant(actor=User.objects.system(), user=user, role=role, team=team)
    access.forget(user)
    return user


@pytest.fixture
def system(db):
    """Return the service account."""
    return User.objects.system()


@pytest.fixture
def frank(db):
    """Return the administrator."""
    return make_role(make_person("frank"), Role.ADMINISTRATOR)


@pytest.fixture
def team(frank):
    """Return the team in which alice and bob work."""
    from projects.services import teams

    return teams.create(actor=frank, slug="helpdesk", name="Help desk", description="Answers employees.")


@pytest.fixture
def other_team(frank):
    """Return a team in which no persona but frank's reach exists."""
    from projects.services import teams

    return teams.create(actor=frank, slug="finance", name="Finance", description="Pays invoices.")


@pytest.fixture
def alice(team):
    """Return the team's owner."""
    return make_role(make_person("alice"), Role.TEAM_OWNER, team)


@pytest.fixture
def bob(team):
    """Return the engineer and steward who works in the team."""
    user = make_role(make_person("bob"), Role.ML_ENGINEER, team)
    return make_role(user, Role.DATA_STEWARD, team)


@pytest.fixture
def carol(db):
    """Return the reviewer."""
    return make_role(make_person("carol"), Role.REVIEWER)


@pytest.fixture
def dan(db):
    """Return the auditor."""
    return make_role(make_person("dan"), Role.AUDITOR)


@pytest.fixture
def eve(db):
    """Return an employee who is in no team."""
    user = make_person("eve")
    assert RoleAssignment.objects.filter(user=user).count() == 1
    return user


@pytest.fixture
def personas(alice, bob, carol, dan, eve, frank):
    """Return all six by name."""
    return {"alice": alice, "bob": bob, "carol": carol, "dan": dan, "eve": eve, "frank": frank}


@pytest.fixture(autouse=True)
def empty_cache():
    """Let every test begin with an empty cache: rate limits counted in one test must not refuse calls in the next."""
    from django.core.cache import cache

    cache.clear()
