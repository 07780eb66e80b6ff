"""Emergency access: who may, what it gives and for how long, that it is alarmed, recorded, and reviewed by another."""

import datetime
import socket

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from governance.actions import Action
from governance.models import BreakGlass, LedgerEntry, User
from governance.policy import APPROVING, BREAK_GLASS, CONFLICTS, GATES, ROLE_PERMISSIONS, GlassLevel, Permission, Role
from governance.services import access, break_glass, ledger, tokens
from projects.models import Dataset, Team, UseCase
from tests import factories
from tests.personas import make_person, make_role
from tests.recorded import recorded

pytestmark = pytest.mark.postgres
REASON = "The classifier answers nonsense and nobody of the team can be reached."


@pytest.fixture
def grace(db):
    """Return a superuser without any role but that of an employee."""
    user = make_person("grace")
    with recorded():
        User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
    return User.objects.get(pk=user.pk)


@pytest.fixture
def dataset(alice, team):
    """Return a dataset of the team."""
    return factories.make_dataset(actor=alice, team=team)


def fresh(user) -> User:
    """Return the person as a new request sees them."""
    return User.objects.get(pk=user.pk)


def break_it(actor, *, level="read", team=None, hours=1, reason=REASON) -> BreakGlass:
    """Open emergency access."""
    return break_glass.open(actor=actor, level=level, team=team, hours=hours, reason=reason)


def lapse(glass: BreakGlass, **ago) -> None:
    """Let it have run out that long ago."""
    over = timezone.now() - datetime.timedelta(**ago)
    with recorded():
        BreakGlass.objects.filter(pk=glass.pk).update(opened_at=over - datetime.timedelta(hours=1), expires_at=over)
    glass.refresh_from_db()


# What it gives


def test_no_emergency_lets_anything_pass_gives_rights_or_makes_new_things():
    steps = [step for gate in GATES.values() for tier in gate.steps.values() for step in tier]
    approvers = {permission for step in steps for permission in step.approvers}
    assert approvers <= APPROVING
    never = APPROVING | approvers
    never |= {Permission.PERSON_MANAGE, Permission.MEMBER_MANAGE, Permission.TEAM_CREATE, Permission.SITE_ADMINISTER}
    never |= {Permission.BREAK_GLASS_OPEN, Permission.BREAK_GLASS_REVIEW, Permission.DATASET_CLEAR}
    never |= {Permission.MODEL_PUBLISH, Permission.JOB_SUBMIT, Permission.DATASET_UPLOAD, Permission.REVIEW_REQUEST}
    never |= {Permission.DATASET_SHARE, Permission.MODEL_SHARE}
    for level, gives in BREAK_GLASS.items():
        assert not gives & never, level
    assert set(BREAK_GLASS) == set(GlassLevel)
    assert BREAK_GLASS[GlassLevel.READ] < BREAK_GLASS[GlassLevel.OPERATE]


def test_a_superuser_may_break_the_glass_and_nothing_else(grace, team):
    for permission in Permission:
        expected = permission is Permission.BREAK_GLASS_OPEN or permission in ROLE_PERMISSIONS[Role.EMPLOYEE]
        assert access.allows(grace, permission, team) == expected, permission


@pytest.mark.parametrize("person", ["alice", "bob", "carol", "dan", "eve"])
def test_only_administrators_and_superusers_may(personas, person):
    with pytest.raises(access.Denied):
        break_it(personas[person])
    assert not BreakGlass.objects.exists()


def test_it_opens_what_it_says_where_it_says_and_only_before_a_witness(grace, team, other_team, dataset):
    break_it(grace, team=team)
    user = fresh(grace)
    assert not access.allows(user, "dataset.view", dataset)
    assert not Dataset.objects.visible_to(user).exists()
    with access.witness() as uses:
        assert access.allows(user, "dataset.view", dataset)
        assert list(Dataset.objects.visible_to(user)) == [dataset]
        assert list(Team.objects.visible_to(user)) == [team]
        assert access.scope_ids(user, "job.view") == {team.pk}
        assert not access.allows(user, "dataset.view", other_team)
        assert not access.organisation_allows(user, "ledger.view")
        assert not access.allows(user, "dataset.withdraw", dataset)
        with pytest.raises(access.Denied):
            access.require(user, "review.decide", dataset)
    assert {permission for _, permission in uses} == {"dataset.view", "team.view", "job.view"}
    assert not access.allows(user, "dataset.view", dataset)


def test_the_whole_organisation_and_the_second_level(grace, team, dataset):
    break_it(grace, level="operate")
    user = fresh(grace)
    with access.witness() as uses:
        assert access.organisation_allows(user, "ledger.view")
        assert access.allows(user, "dataset.withdraw", dataset)
        assert list(UseCase.objects.visible_to(user)) == []
        assert list(Dataset.objects.visible_to(user)) == [dataset]
    assert (BreakGlass.objects.get().pk, "dataset.withdraw") in uses


def test_what_one_holds_anyway_is_no_use_of_it(frank, team):
    break_it(frank)
    user = fresh(frank)
    with access.witness() as uses:
        assert access.allows(user, "team.view", team)
        assert list(Team.objects.visible_to(user)) == [team]
    assert uses == set()


def test_it_is_over_at_the_second_without_anybody_looking(grace, dataset, monkeypatch):
    glass = break_it(grace)
    user = fresh(grace)
    with access.witness():
        assert access.allows(user, "dataset.view", dataset)
        # The rights were read while it was open; the clock moves on within the request.
        monkeypatch.setattr(access.timezone, "now", lambda: glass.expires_at - datetime.timedelta(microseconds=1))
        assert access.allows(user, "dataset.view", dataset)
        monkeypatch.setattr(access.timezone, "now", lambda: glass.expires_at)
        assert not access.allows(user, "dataset.view", dataset)
        assert not access.allows(fresh(grace), "dataset.view", dataset)


def test_it_ends_at_once_when_it_is_ended(grace, dataset):
    glass = break_it(grace)
    break_glass.end(actor=grace, glass=glass)
    with access.witness():
        assert not access.allows(fresh(grace), "dataset.view", dataset)
        assert not access.allows(grace, "dataset.view", dataset)
    entry = LedgerEntry.objects.about(glass).get(action=Action.BREAK_GLASS_ENDED)
    assert entry.actor == grace
    # Ending it again changes nothing.
    assert break_glass.end(actor=grace, glass=glass).ended_at == BreakGlass.objects.get().ended_at
    assert LedgerEntry.objects.filter(action=Action.BREAK_GLASS_ENDED).count() == 1


def test_a_token_carries_no_emergency_access_and_opens_none(frank, dataset):
    break_it(frank, level="operate")
    _token, secret = tokens.create(actor=fresh(frank), user=frank, name="t", scopes=["read", "write", "admin"], days=1)
    user = tokens.authenticate(secret).user
    with access.witness() as uses:
        assert not access.allows(user, "dataset.withdraw", dataset)
        assert access.emergency_of(user) == []
    assert uses == set()
    with pytest.raises(access.Denied) as refused:
        break_it(user)
    assert refused.value.code == "not_by_token"


def test_a_deactivated_person_loses_it(grace, dataset):
    break_it(grace)
    with recorded():
        User.objects.filter(pk=grace.pk).update(is_active=False)
    with access.witness():
        assert not access.allows(fresh(grace), "dataset.view", dataset)


# Opening and ending


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hours": 0}, "hours"),
        ({"hours": 9}, "hours"),
        ({"reason": "   because "}, "reason"),
        ({"level": "everything"}, "level"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(frank, change, field):
    with pytest.raises(break_glass.Invalid) as refused:
        break_it(frank, **change)
    assert refused.value.field == field
    assert not BreakGlass.objects.exists()


def test_it_cannot_be_stacked_to_last_longer(frank, team):
    break_it(frank)
    with pytest.raises(break_glass.Invalid):
        break_it(frank)
    break_it(frank, team=team)


def test_the_system_cannot(system):
    with pytest.raises(access.Denied):
        break_it(system)


def test_opening_is_recorded_and_told_to_those_who_must_know(
    frank, alice, bob, carol, dan, eve, team, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        glass = break_it(frank, level="operate", team=team)
    entry = LedgerEntry.objects.about(glass).get(action=Action.BREAK_GLASS_OPENED)
    assert entry.actor == frank
    assert entry.scope_id == team.pk
    assert ledger.body(entry)["details"]["level"] == "operate"
    assert REASON not in bytes(entry.canonical).decode()
    assert entry.texts.get().text == REASON
    assert sorted(one.to[0] for one in mail.outbox) == sorted([frank.email, alice.email, dan.email])
    (letter,) = [one for one in mail.outbox if one.to == [dan.email]]
    assert REASON in letter.body
    assert glass.get_absolute_url() in letter.body
    assert str(frank) in letter.subject


def test_a_mail_server_that_is_down_does_not_hide_the_emergency(frank, settings, django_capture_on_commit_callbacks):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", closed.getsockname()[1]
        with django_capture_on_commit_callbacks(execute=True):
            glass = break_it(frank)
    assert glass.is_live


def test_others_who_answer_for_it_may_end_it_and_nobody_else(grace, frank, alice, bob, dan, eve, team, other_team):
    glass = break_it(grace, team=team)
    for person in (bob, eve):
        with pytest.raises(access.Denied):
            break_glass.end(actor=person, glass=glass)
    for person in (alice, frank, dan):
        assert break_glass.end(actor=person, glass=glass).ended_by == alice
    other = break_it(grace)
    with pytest.raises(access.Denied):
        break_glass.end(actor=alice, glass=other)
    assert break_glass.end(actor=frank, glass=other).ended_by == frank


def test_who_may_know_of_it(grace, frank, alice, bob, carol, dan, eve, team, other_team):
    glass = break_it(grace, team=team)
    for person, sees in ((grace, 1), (frank, 1), (alice, 1), (carol, 1), (dan, 1), (bob, 0), (eve, 0)):
        assert BreakGlass.objects.visible_to(fresh(person)).filter(pk=glass.pk).count() == sees, person


# The review afterwards


def test_somebody_else_reviews_it_once_it_is_over(grace, dan):
    glass = break_it(grace)
    with pytest.raises(access.Denied, match="still open"):
        break_glass.review(actor=dan, glass=glass, verdict="justified", note="I read it all.")
    assert not BreakGlass.objects.to_review_by(dan).exists()
    break_glass.end(actor=grace, glass=glass)
    assert list(BreakGlass.objects.to_review_by(dan)) == [glass]
    for change, field in (({"verdict": "fine"}, "verdict"), ({"note": " "}, "note")):
        with pytest.raises(break_glass.Invalid) as refused:
            break_glass.review(actor=dan, glass=glass, **{"verdict": "justified", "note": "Read."} | change)
        assert refused.value.field == field
    reviewed = break_glass.review(actor=dan, glass=glass, verdict="not_justified", note="The team could be reached.")
    assert (reviewed.state, reviewed.reviewed_by) == ("not_justified", dan)
    entry = LedgerEntry.objects.about(glass).get(action=Action.BREAK_GLASS_REVIEWED)
    assert entry.actor == dan
    assert "reached" not in bytes(entry.canonical).decode()
    with pytest.raises(access.Denied, match="reviewed already"):
        break_glass.review(actor=dan, glass=glass, verdict="justified", note="I changed my mind.")


def test_nobody_reviews_their_own(frank, system):
    both = make_role(make_role(make_person("heidi"), Role.AUDITOR), Role.ADMINISTRATOR)
    glass = break_it(fresh(both))
    break_glass.end(actor=both, glass=glass)
    assert not BreakGlass.objects.to_review_by(fresh(both)).exists()
    with pytest.raises(access.Denied) as refused:
        break_glass.review(actor=fresh(both), glass=glass, verdict="justified", note="All was well.")
    assert refused.value.code == "own_access"
    with pytest.raises(IntegrityError), transaction.atomic():
        BreakGlass.objects.filter(pk=glass.pk).update(reviewed_by=both, reviewed_at=timezone.now(), verdict="justified")


@pytest.mark.parametrize("person", ["alice", "bob", "eve", "frank"])
def test_who_does_not_review_does_not_review(personas, grace, person):
    glass = break_it(grace)
    break_glass.end(actor=grace, glass=glass)
    with pytest.raises(access.Denied):
        break_glass.review(actor=personas[person], glass=glass, verdict="justified", note="Fine.")


def test_one_that_nobody_looked_at_becomes_overdue(grace, dan, settings):
    glass = break_it(grace)
    assert glass.state == "in_force"
    lapse(glass, days=settings.BREAK_GLASS_REVIEW_DAYS - 1)
    assert glass.state == "to_review"
    assert not BreakGlass.objects.overdue().exists()
    lapse(glass, days=settings.BREAK_GLASS_REVIEW_DAYS, minutes=1)
    assert glass.state == "overdue"
    assert list(BreakGlass.objects.overdue()) == [glass]
    assert list(BreakGlass.objects.to_review_by(dan).overdue()) == [glass]
    assert str(glass).startswith("Grace: Read until")


# A request


def test_every_request_that_relied_on_it_is_in_the_ledger(grace, dataset):
    glass = break_it(grace)
    client = Client()
    client.force_login(grace)
    page = client.get(dataset.get_absolute_url())
    assert page.status_code == 200
    assert "Emergency access is open" in page.content.decode()
    entry = LedgerEntry.objects.about(glass).get(action=Action.BREAK_GLASS_USED)
    body = ledger.body(entry)
    assert entry.actor == grace
    assert body["details"]["path"] == dataset.get_absolute_url()
    assert "dataset.view" in body["details"]["permissions"]
    assert body["request"] == page["X-Request-Id"]
    break_glass.end(actor=grace, glass=glass)
    assert client.get(dataset.get_absolute_url()).status_code == 404
    assert LedgerEntry.objects.filter(action=Action.BREAK_GLASS_USED).count() == 1


def test_an_api_call_of_a_session_is_recorded_and_one_with_a_token_gets_nothing(grace, dataset):
    _token, secret = tokens.create(actor=grace, user=grace, name="t", scopes=["read"], days=1)
    glass = break_it(grace)
    client = Client()
    refused = client.get(f"/api/v1/datasets/{dataset.pk}/", headers={"Authorization": f"Bearer {secret}"})
    assert refused.status_code == 404
    assert not LedgerEntry.objects.filter(action=Action.BREAK_GLASS_USED).exists()
    client.force_login(grace)
    assert client.get(f"/api/v1/datasets/{dataset.pk}/").status_code == 200
    assert LedgerEntry.objects.about(glass).filter(action=Action.BREAK_GLASS_USED, actor=grace).count() == 1


def test_the_conflicts_of_roles_name_known_roles():
    for conflict in CONFLICTS:
        assert conflict.one
        assert conflict.other
        assert conflict.reason.endswith(".")
