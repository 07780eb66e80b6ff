"""Who can see what and why, and the reviews of it: the list agrees with the rights, and what is taken away is gone."""

import datetime

import pytest
from django.utils import timezone

from governance.actions import Action
from governance.models import AccessReview, AccessReviewItem, LedgerEntry, RoleAssignment, Share, User
from governance.policy import Role
from governance.services import access, access_reviews, break_glass, ledger, roles
from projects.models import Dataset, Team, UseCase
from tests import factories
from tests.personas import make_person, make_role
from tests.recorded import recorded

pytestmark = pytest.mark.postgres
SOON = datetime.timedelta(days=14)


@pytest.fixture
def dataset(alice, team):
    """Return a dataset of the team."""
    return factories.make_dataset(actor=alice, team=team)


@pytest.fixture
def share(alice, eve, dataset):
    """Return what opens the dataset to eve."""
    return roles.share(
        actor=alice,
        user=eve,
        permission="dataset.view",
        subject=dataset,
        purpose="A second look",
        expires_at=timezone.now() + SOON,
    )


def fresh(user) -> User:
    """Return the person as a new request sees them."""
    return User.objects.get(pk=user.pk)


def start(actor, subject, **more) -> AccessReview:
    """Open a review that the actor is to do."""
    given = {"owner": actor, "due_on": timezone.localdate() + SOON} | more
    return access_reviews.open(actor=actor, subject=subject, **given)


def item_of(review, person, via="role", words=None) -> AccessReviewItem:
    """Return the one item about the person."""
    items = review.items.filter(person=person, via=via)
    return (items.filter(words=words) if words else items).get()


def test_who_sees_it_is_who_may_see_it(personas, team, other_team, dataset, share):
    """The same question from both sides, for every persona and every kind of object."""
    make_role(make_person("guest"), Role.DOMAIN_EXPERT, other_team)
    ended = make_person("ended")
    held = roles.grant(
        actor=personas["alice"], user=ended, role=Role.GUEST, team=team, expires_at=timezone.now() + SOON
    )
    with recorded():
        RoleAssignment.objects.filter(pk=held.pk).update(expires_at=timezone.now())
    gone = make_role(make_person("gone"), Role.AUDITOR)
    with recorded():
        User.objects.filter(pk=gone.pk).update(is_active=False)
    proposed = factories.make_use_case(actor=personas["eve"], team=team)
    for subject in (team, other_team, dataset, proposed):
        listed = {held.person.pk for held in access.who_sees(subject) if held.person is not None}
        seen = {
            user.pk
            for user in User.objects.people()
            if type(subject).objects.visible_to(user).filter(pk=subject.pk).exists()
        }
        assert listed == seen, subject
    assert Dataset.objects.visible_to(personas["eve"]).exists()
    assert UseCase.objects.visible_to(personas["eve"]).exists()


def test_each_reason_says_why_since_when_by_whom_and_until(alice, dan, eve, frank, system, dataset, share):
    reasons = {(held.person.pk, held.via): held for held in access.who_sees(dataset)}
    assert reasons[eve.pk, "share"].words == "A second look"
    assert reasons[eve.pk, "share"].granted_by == alice
    assert reasons[eve.pk, "share"].until == share.expires_at
    assert reasons[alice.pk, "role"].words == "Team owner"
    assert not reasons[alice.pk, "role"].everywhere
    assert reasons[dan.pk, "role"].everywhere
    assert reasons[dan.pk, "role"].granted_by == system
    break_glass.open(actor=frank, level="read", hours=1, reason="Something is on fire in the house.")
    found = [held for held in access.who_sees(dataset) if held.via == "emergency"]
    assert [held.person for held in found] == [frank]


@pytest.mark.parametrize("label", ["projects.dataset", "projects.usecase", "projects.team", "training.registeredmodel"])
def test_kinds_of_objects_whose_readers_are_listed(label):
    assert access.reviewable(label) is not None


@pytest.mark.parametrize("label", ["governance.ledgerentry", "projects.nothing", "nothing", "a.b.c", ""])
def test_other_words_name_nothing(label):
    assert access.reviewable(label) is None


def test_a_review_holds_everyone_as_they_are_and_is_recorded(alice, bob, dan, eve, dataset, share):
    review = start(alice, dataset)
    people = set(review.items.values_list("person", flat=True))
    assert {alice.pk, bob.pk, dan.pk, eve.pk} <= people
    entry = LedgerEntry.objects.about(review).get(action=Action.ACCESS_REVIEW_OPENED)
    assert ledger.body(entry)["details"]["items"] == review.items.count()
    assert review.state == "to_review"
    assert str(review) == f"Who can see {dataset}"


@pytest.mark.parametrize("person", ["bob", "carol", "dan", "eve"])
def test_only_who_manages_members_opens_and_decides(personas, dataset, person):
    with pytest.raises(access.Denied):
        start(personas[person], dataset)
    review = start(personas["alice"], dataset)
    with pytest.raises(access.Denied):
        access_reviews.decide(actor=personas[person], item=review.items.first(), verdict="kept")
    with pytest.raises(access.Denied):
        access_reviews.close(actor=personas[person], review=review)


def test_what_does_not_fit_is_refused_with_its_field(alice, bob, system, dataset):
    for change, field in (
        ({"owner": bob}, "owner"),
        ({"owner": system}, "owner"),
        ({"due_on": timezone.localdate() - datetime.timedelta(days=1)}, "due_on"),
    ):
        with pytest.raises(access_reviews.Invalid) as refused:
            start(alice, dataset, **change)
        assert refused.value.field == field
    start(alice, dataset)
    with pytest.raises(access_reviews.Invalid, match="open already"):
        start(alice, dataset)


def test_what_is_taken_away_is_gone_at_once(alice, bob, eve, frank, team, dataset, share):
    review = start(alice, dataset)
    taken = access_reviews.decide(
        actor=alice, item=item_of(review, eve, "share"), verdict="taken_away", note="Not needed any more."
    )
    assert taken.state == "taken_away"
    assert not Dataset.objects.visible_to(fresh(eve)).exists()
    assert not Share.objects.exists()
    access_reviews.decide(actor=alice, item=item_of(review, bob, words="ML engineer"), verdict="taken_away")
    assert not access.allows(fresh(bob), "job.submit", team)
    assert access.allows(fresh(bob), "dataset.upload", team)
    entry = LedgerEntry.objects.about(review).filter(action=Action.ACCESS_REVIEW_DECIDED).earliest("pk")
    assert entry.texts.get().text == "Not needed any more."
    with pytest.raises(access.Denied, match="ended already"):
        access_reviews.decide(actor=alice, item=taken, verdict="kept")


def test_emergency_access_is_ended_by_a_review(alice, grace_with_glass, team):
    review = start(alice, team)
    access_reviews.decide(actor=alice, item=item_of(review, grace_with_glass.person, "emergency"), verdict="taken_away")
    grace_with_glass.refresh_from_db()
    assert grace_with_glass.ended_by == alice


@pytest.fixture
def grace_with_glass(frank, team):
    """Return emergency access of an administrator in the team."""
    return break_glass.open(actor=frank, level="read", team=team, hours=1, reason="Something is on fire in the house.")


def test_a_team_owner_takes_no_role_of_the_organisation_away(alice, dan, frank, dataset):
    review = start(alice, dataset)
    with pytest.raises(access.Denied, match=r"person\.manage"):
        access_reviews.decide(actor=alice, item=item_of(review, dan), verdict="taken_away")
    assert item_of(review, dan).state == "undecided"
    access_reviews.decide(actor=frank, item=item_of(review, dan), verdict="taken_away")
    assert not fresh(dan).role_assignments.filter(role=Role.AUDITOR).exists()


def test_nobody_decides_about_themselves(alice, frank, dataset):
    review = start(alice, dataset)
    with pytest.raises(access.Denied) as refused:
        access_reviews.decide(actor=alice, item=item_of(review, alice), verdict="kept")
    assert refused.value.code == "own_access"
    assert access_reviews.decide(actor=frank, item=item_of(review, alice), verdict="kept").decided_by == frank


def test_another_word_is_refused(alice, bob, dataset):
    review = start(alice, dataset)
    for verdict in ("ended", "maybe"):
        with pytest.raises(access_reviews.Invalid):
            access_reviews.decide(actor=alice, item=item_of(review, bob, words="ML engineer"), verdict=verdict)


def test_what_ended_by_itself_is_noted_so(alice, bob, eve, dataset, share, frank):
    review = start(alice, dataset)
    roles.unshare(actor=alice, share=share)
    assert access_reviews.decide(actor=alice, item=item_of(review, eve, "share"), verdict="kept").state == "ended"


def test_a_review_closes_when_everything_is_decided(alice, bob, dan, eve, frank, dataset, share):
    review = start(alice, dataset)
    with pytest.raises(access.Denied) as refused:
        access_reviews.close(actor=alice, review=review)
    assert any("Bob" in line for line in refused.value.missing)
    roles.unshare(actor=alice, share=share)
    for item in review.items.exclude(via="share"):
        actor = alice if item.person_id not in {alice.pk} else frank
        access_reviews.decide(actor=actor, item=item, verdict="kept")
    # Taken away although it was kept first: as long as the review is open.
    access_reviews.decide(actor=alice, item=item_of(review, bob, words="ML engineer"), verdict="taken_away")
    closed = access_reviews.close(actor=alice, review=review)
    assert closed.state == "closed"
    assert item_of(review, eve, "share").state == "ended"
    entry = LedgerEntry.objects.about(review).get(action=Action.ACCESS_REVIEW_CLOSED)
    details = ledger.body(entry)["details"]
    assert (details["taken_away"], details["ended"]) == (1, 1)
    assert access_reviews.close(actor=alice, review=closed).closed_at == closed.closed_at
    with pytest.raises(access.Denied, match="closed"):
        access_reviews.decide(actor=alice, item=item_of(review, bob, words="Data steward"), verdict="taken_away")
    start(alice, dataset)


def test_who_sees_reviews_and_which_are_overdue(personas, team, other_team, dataset):
    alice = personas["alice"]
    review = start(alice, dataset)
    for name, sees in (("alice", 1), ("frank", 1), ("dan", 1), ("carol", 1), ("bob", 0), ("eve", 0)):
        assert AccessReview.objects.visible_to(fresh(personas[name])).count() == sees, name
    assert list(AccessReview.objects.to_do_by(alice)) == [review]
    assert not AccessReview.objects.overdue().exists()
    with recorded():
        AccessReview.objects.filter(pk=review.pk).update(due_on=timezone.localdate() - datetime.timedelta(days=1))
    review.refresh_from_db()
    assert review.state == "overdue"
    assert list(AccessReview.objects.overdue()) == [review]
    assert not Team.objects.visible_to(fresh(personas["eve"])).exists()
