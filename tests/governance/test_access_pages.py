"""Emergency access, access reviews and the effect of roles: the pages and the REST endpoints."""

import datetime

import pytest
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from governance.models import AccessReview, BreakGlass
from governance.policy import Role
from governance.services import access_reviews, break_glass, roles
from tests import factories
from tests.personas import make_person
from tests.recorded import recorded

V1 = "/api/v1"
REASON = "The classifier answers nonsense and nobody of the team can be reached."
SOON = datetime.timedelta(days=14)


@pytest.fixture
def as_(client):
    """Return a function that signs a person in and gives the client."""

    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


@pytest.fixture
def api():
    """Return a function that gives a client of the API with the session of a person."""

    def sign_in(person):
        client = APIClient()
        client.force_login(person)
        return client

    return sign_in


@pytest.fixture
def dataset(alice, team):
    """Return a dataset of the team."""
    return factories.make_dataset(actor=alice, team=team)


@pytest.fixture
def glass(frank, team):
    """Return frank's emergency access to the team."""
    return break_glass.open(actor=frank, level="operate", team=team, hours=2, reason=REASON)


@pytest.fixture
def review(alice, dataset):
    """Return alice's review of the dataset."""
    return access_reviews.open(actor=alice, subject=dataset, owner=alice, due_on=timezone.localdate() + SOON)


def url(name, *arguments) -> str:
    """Return the address of a page."""
    return reverse(f"governance:{name}", args=arguments)


# Emergency access


def test_it_is_opened_shown_on_every_page_and_ended(frank, dan, team, as_):
    client = as_(frank)
    bad = client.post(url("break_glass_open"), {"level": "read", "hours": 99, "reason": "x", "team": "nowhere"})
    assert bad.status_code == 422
    for field in ("hours", "team"):
        assert f'data-field="{field}"' in bad.content.decode()
    short = client.post(url("break_glass_open"), {"level": "read", "hours": 1, "reason": "x"})
    assert short.status_code == 422
    assert "what the emergency is" in short.content.decode()
    opened = client.post(url("break_glass_open"), {"level": "read", "hours": 1, "reason": REASON, "team": team.slug})
    glass = BreakGlass.objects.get()
    assert (opened.status_code, opened.url) == (302, glass.get_absolute_url())
    assert "Emergency access is open" in client.get("/").content.decode()
    assert "Emergency access is open" not in as_(dan).get("/").content.decode()
    page = as_(frank).get(glass.get_absolute_url()).content.decode()
    assert REASON in page
    assert "You cannot review your own" not in page
    assert as_(frank).post(url("break_glass_end", glass.pk)).status_code == 302
    assert "Emergency access is open" not in as_(frank).get("/").content.decode()
    assert "You cannot review your own" in as_(frank).get(glass.get_absolute_url()).content.decode()


def test_who_must_review_finds_it_on_the_home_page_and_reviews(frank, dan, alice, glass, as_):
    assert "emergency access to review" not in as_(dan).get("/").content.decode()
    break_glass.end(actor=frank, glass=glass)
    assert "1 emergency access to review" in as_(dan).get("/").content.decode()
    for person in (frank, alice):
        assert "emergency access to review" not in as_(person).get("/").content.decode()
    assert as_(dan).post(url("break_glass_review", glass.pk), {"verdict": "justified"}).status_code == 422
    done = as_(dan).post(url("break_glass_review", glass.pk), {"verdict": "justified", "note": "I read every use."})
    assert done.status_code == 302
    assert "I read every use." in as_(frank).get(glass.get_absolute_url()).content.decode()
    assert "emergency access to review" not in as_(dan).get("/").content.decode()
    assert (
        as_(frank).post(url("break_glass_review", glass.pk), {"verdict": "justified", "note": "x"}).status_code == 403
    )


def test_who_may_not_is_refused_and_who_is_not_concerned_finds_nothing(glass, eve, carol, as_):
    assert as_(eve).get(url("break_glasses")).status_code == 200
    assert "Frank" not in as_(eve).get(url("break_glasses")).content.decode()
    assert as_(eve).get(url("break_glass", glass.pk)).status_code == 404
    assert as_(eve).post(url("break_glass_end", glass.pk)).status_code == 404
    opened = as_(carol).post(url("break_glass_open"), {"level": "read", "hours": 1, "reason": REASON})
    assert opened.status_code == 403
    assert "Frank" in as_(carol).get(url("break_glasses")).content.decode()


def test_a_superuser_without_roles_finds_the_way(team, dataset, as_):
    grace = make_person("grace")
    grace.is_superuser = True
    grace.save()
    client = as_(grace)
    assert client.get(dataset.get_absolute_url()).status_code == 404
    assert 'href="/administration/break-glass/"' in client.get("/").content.decode()
    client.post(url("break_glass_open"), {"level": "read", "hours": 1, "reason": REASON, "team": ""})
    assert client.get(dataset.get_absolute_url()).status_code == 200
    glass = BreakGlass.objects.get()
    assert dataset.get_absolute_url() in client.get(glass.get_absolute_url()).content.decode()
    # Ending it leads somewhere that can still be seen.
    ended = client.post(url("break_glass_end", glass.pk), follow=True)
    assert ended.status_code == 200
    assert client.get(dataset.get_absolute_url()).status_code == 404


def test_emergency_access_over_the_api(frank, dan, eve, team, api):
    client = api(frank)
    assert client.post(f"{V1}/break-glass/", {"level": "read", "hours": 0, "reason": REASON}).status_code == 400
    made = client.post(f"{V1}/break-glass/", {"level": "read", "hours": 1, "reason": REASON, "team": team.pk})
    assert made.status_code == 201, made.json()
    assert made.json()["state"] == "in_force"
    assert "dataset.download" in made.json()["permissions"]
    pk = made.json()["id"]
    again = client.post(f"{V1}/break-glass/", {"level": "read", "hours": 1, "reason": REASON, "team": team.pk})
    assert again.status_code == 400
    assert api(dan).post(f"{V1}/break-glass/", {"level": "read", "hours": 1, "reason": REASON}).status_code == 403
    assert api(eve).get(f"{V1}/break-glass/{pk}/").status_code == 404
    assert api(eve).post(f"{V1}/break-glass/", {"level": "read", "hours": 1, "reason": REASON, "team": team.pk})
    early = api(dan).post(f"{V1}/break-glass/{pk}/review/", {"verdict": "justified", "note": "Fine."})
    assert early.status_code == 409
    listed = {
        state: api(dan).get(f"{V1}/break-glass/", {"state": state}).json()["results"]
        for state in ("in_force", "to_review", "overdue")
    }
    assert {state: len(rows) for state, rows in listed.items()} == {"in_force": 1, "to_review": 0, "overdue": 0}
    assert api(dan).get(f"{V1}/break-glass/", {"state": "any"}).status_code == 400
    assert client.post(f"{V1}/break-glass/{pk}/end/").json()["state"] == "to_review"
    done = api(dan).post(f"{V1}/break-glass/{pk}/review/", {"verdict": "not_justified", "note": "No emergency."})
    assert done.json()["state"] == "not_justified"
    assert len(api(dan).get(f"{V1}/break-glass/").json()["results"]) == 1


# Who can see it, and reviews of that


def test_who_can_see_it_is_reached_from_the_page_of_the_object(alice, eve, dataset, team, as_):
    address = url("access", "projects.dataset", dataset.pk)
    assert address in as_(alice).get(dataset.get_absolute_url()).content.decode()
    assert url("access", "projects.team", team.pk) in as_(alice).get(team.get_absolute_url()).content.decode()
    page = as_(alice).get(address).content.decode()
    assert "Team owner" in page
    assert "Open a review" in page
    assert as_(eve).get(address).status_code == 404
    assert as_(alice).get(url("access", "governance.user", alice.pk)).status_code == 404


def test_who_may_only_see_the_object_is_told_what_is_missing(alice, eve, team, as_):
    proposed = factories.make_use_case(actor=eve, team=team)
    address = url("access", "projects.usecase", proposed.pk)
    assert address not in as_(eve).get(proposed.get_absolute_url()).content.decode()
    assert as_(eve).get(address).status_code == 403
    assert "Proposed it" in as_(alice).get(address).content.decode()


def test_a_review_is_opened_decided_and_closed_in_the_browser(alice, bob, frank, dataset, as_):
    address = url("access_review_open", "projects.dataset", dataset.pk)
    due = timezone.localdate() + SOON
    assert as_(alice).post(address, {"due_on": ""}).status_code == 422
    assert as_(alice).post(address, {"due_on": due, "owner": "nobody@example.org"}).status_code == 422
    assert as_(alice).post(address, {"due_on": due, "owner": bob.email}).status_code == 422
    assert as_(alice).post(address, {"due_on": due - SOON - SOON}).status_code == 422
    assert as_(bob).post(address, {"due_on": due}).status_code == 403
    opened = as_(alice).post(address, {"due_on": due})
    review = AccessReview.objects.get()
    assert (opened.status_code, opened.url) == (302, review.get_absolute_url())
    assert "1 access review of yours is open" in as_(alice).get("/").content.decode()
    assert "Go to the review" in as_(alice).get(url("access", "projects.dataset", dataset.pk)).content.decode()
    assert "Yours: somebody else decides" in as_(alice).get(review.get_absolute_url()).content.decode()
    refused = as_(alice).post(url("access_review_close", review.pk))
    assert refused.status_code == 403
    assert "Bob" in refused.content.decode()
    own = review.items.get(person=alice)
    assert as_(alice).post(url("access_decide", review.pk, own.pk), {"verdict": "kept"}).status_code == 403
    assert as_(alice).post(url("access_decide", review.pk, own.pk), {"verdict": "maybe"}).status_code == 302
    assert not review.items.exclude(verdict="").exists()
    for item in review.items.exclude(person=frank):
        actor = frank if item.person_id == alice.pk else alice
        as_(actor).post(url("access_decide", review.pk, item.pk), {"verdict": "kept"})
    for item in review.items.filter(person=frank):
        as_(alice).post(url("access_decide", review.pk, item.pk), {"verdict": "kept"})
    assert as_(alice).post(url("access_review_close", review.pk)).status_code == 302
    assert "access review of yours" not in as_(alice).get("/").content.decode()


def test_an_overdue_review_is_marked_on_the_home_page_and_in_the_list(alice, review, as_):
    with recorded():
        AccessReview.objects.update(due_on=timezone.localdate() - datetime.timedelta(days=1))
    assert 'data-status="overdue"' in as_(alice).get("/").content.decode()
    for show in ("open", "overdue", "mine", "all"):
        assert review.subject_label in as_(alice).get(url("access_reviews"), {"show": show}).content.decode()


def test_taking_ones_last_way_in_away_leads_home(alice, frank, team, review, as_):
    other = make_person("heidi")
    held = roles.grant(actor=alice, user=other, role=Role.TEAM_OWNER, team=team)
    review.items.create(
        person=other, via="role", source_id=held.pk, words="Team owner", since=held.granted_at, granted_by=alice
    )
    item = review.items.get(person=alice)
    done = as_(other).post(url("access_decide", review.pk, item.pk), {"verdict": "taken_away"})
    assert done.status_code == 302
    assert as_(alice).get(url("access_review", review.pk)).status_code == 200


def test_reviews_over_the_api(alice, bob, dan, eve, dataset, api):
    named = f"projects.dataset:{dataset.pk}"
    seen = api(alice).get(f"{V1}/access/", {"subject": named})
    assert {row["person"]["email"] for row in seen.json()} >= {alice.email, bob.email, dan.email}
    for subject in (
        "",
        "projects.dataset",
        "projects.dataset:x",
        f"governance.user:{alice.pk}",
        "projects.dataset:999",
    ):
        assert api(alice).get(f"{V1}/access/", {"subject": subject}).status_code == 400
    assert api(eve).get(f"{V1}/access/", {"subject": named}).status_code == 400
    due = (timezone.localdate() + SOON).isoformat()
    assert api(bob).post(f"{V1}/access-reviews/", {"subject": named, "due_on": due}).status_code == 403
    made = api(alice).post(f"{V1}/access-reviews/", {"subject": named, "due_on": due})
    assert made.status_code == 201, made.json()
    assert made.json()["subject"] == named
    assert made.json()["owner"]["email"] == alice.email
    pk, items = made.json()["id"], made.json()["items"]
    assert api(alice).post(f"{V1}/access-reviews/", {"subject": named, "due_on": due}).status_code == 400
    (steward,) = [row for row in items if row["words"] == "Data steward"]
    body = {"item": steward["id"], "verdict": "taken_away", "note": "Moved on."}
    shown = api(alice).post(f"{V1}/access-reviews/{pk}/decide/", body).json()
    assert [row["verdict"] for row in shown["items"] if row["id"] == steward["id"]] == ["taken_away"]
    missing = api(alice).post(f"{V1}/access-reviews/{pk}/decide/", {"item": 99999, "verdict": "kept"})
    assert missing.status_code == 404
    assert api(alice).post(f"{V1}/access-reviews/{pk}/close/").status_code == 403
    first = api(alice).get(f"{V1}/access-reviews/{pk}/")
    assert first["ETag"]
    for show in ("open", "mine"):
        assert len(api(alice).get(f"{V1}/access-reviews/", {"show": show}).json()["results"]) == 1
    assert api(alice).get(f"{V1}/access-reviews/", {"show": "overdue"}).json()["results"] == []
    assert api(eve).get(f"{V1}/access-reviews/{pk}/").status_code == 404


# The effect of a role


def test_the_effect_is_shown_on_the_page_of_a_team_before_it_is_given(alice, eve, team, as_):
    address = reverse("projects:team_grant", args=[team.slug])
    shown = as_(alice).post(address, {"person": eve.email, "role": "data_steward"})
    page = shown.content.decode()
    assert shown.status_code == 200
    assert "dataset.upload" in page
    assert "They will see" in page
    assert not eve.role_assignments.filter(scope_id=team.pk).exists()
    done = as_(alice).post(address, {"person": eve.email, "role": "data_steward", "confirmed": "1"})
    assert done.status_code == 302
    assert eve.role_assignments.filter(scope_id=team.pk, role="data_steward").exists()


def test_a_role_that_cannot_be_given_shows_why_and_no_button(frank, carol, as_):
    shown = as_(frank).post(url("person_grant", carol.pk), {"role": "administrator", "team": "", "until": ""})
    page = shown.content.decode()
    assert "This cannot be given." in page
    assert "Give this role" not in page
    forced = as_(frank).post(
        url("person_grant", carol.pk), {"role": "administrator", "team": "", "until": "", "confirmed": "1"}
    )
    assert forced.status_code == 403
    assert not carol.role_assignments.filter(role="administrator").exists()


def test_the_effect_over_the_api(alice, frank, carol, eve, team, api):
    body = {"user": eve.pk, "role": "data_steward", "team": team.pk}
    told = api(alice).post(f"{V1}/roles/preview/", body)
    assert told.status_code == 200, told.json()
    assert "dataset.upload" in told.json()["new"]
    assert {"kind": "teams", "count": 1} in told.json()["sees"]
    assert not eve.role_assignments.filter(scope_id=team.pk).exists()
    assert api(alice).post(f"{V1}/roles/preview/", {"user": eve.pk, "role": "auditor"}).status_code == 403
    refused = api(frank).post(f"{V1}/roles/preview/", {"user": carol.pk, "role": "administrator"})
    assert refused.json()["refused"]
    assert refused.json()["conflicts"][0]["refused"]


# How many queries


@pytest.mark.parametrize("name", ["break_glasses", "break_glass", "access_reviews", "access_review", "access", "home"])
def test_a_page_costs_at_most_twelve_queries_however_much_is_on_it(
    name, frank, alice, dan, team, dataset, glass, review, as_, django_assert_max_num_queries
):
    address = {
        "break_glasses": url("break_glasses"),
        "break_glass": glass.get_absolute_url(),
        "access_reviews": url("access_reviews"),
        "access_review": review.get_absolute_url(),
        "access": url("access", "projects.dataset", dataset.pk),
        "home": "/",
    }[name]
    client = as_(dan)
    client.get(address)
    with django_assert_max_num_queries(12) as few:
        client.get(address)
    for number in range(6):
        person = make_person(f"more{number}")
        roles.grant(actor=alice, user=person, role=Role.DOMAIN_EXPERT, team=team)
        other = factories.make_dataset(actor=alice, team=team, name=f"more-{number}")
        access_reviews.open(actor=alice, subject=other, owner=alice, due_on=timezone.localdate() + SOON)
        break_glass.end(actor=frank, glass=BreakGlass.objects.live().get())
        break_glass.open(actor=frank, level="read", hours=1, reason=REASON)
    with django_assert_max_num_queries(12) as many:
        client.get(address)
    assert len(many) <= len(few)
