"""Texts are erased by people who cannot read them, with a reason, and by two where the operator wants two."""

import json

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.urls import reverse

from governance.actions import Action
from governance.models import ErasableText, Erasure, LedgerEntry, User
from governance.policy import Role
from governance.proofs import verify
from governance.services import access, erasures, ledger
from tests.personas import make_person, make_role

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]
WHY = "Article 17, asked for in May"
SECRET = "Alice is ill and away until June"


@pytest.fixture
def unseen(alice, frank):
    """Return a numbered entry of alice's that frank, who administers, may not read."""
    ledger.ensure_key()
    with transaction.atomic():
        made = ledger.record(Action.PERSON_CHANGED, actor=alice, subject=alice, texts={"reason": SECRET})
    ledger.seal()
    return LedgerEntry.objects.select_related("sealed").get(pk=made.pk)


@pytest.fixture
def grace(db):
    """Return a second administrator."""
    return make_role(make_person("grace"), Role.ADMINISTRATOR)


@pytest.fixture
def by_two(settings):
    """Let the operator want two people."""
    settings.ERASURE_BY_TWO = True


@pytest.fixture
def as_person(client):
    """Return a function that signs a person in and gives the client."""

    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


def texts(entry) -> dict[str, str]:
    """Return what can still be read of an entry."""
    return ledger.texts_of(LedgerEntry.objects.get(pk=entry.pk))


def test_who_cannot_read_an_entry_finds_it_by_its_number_and_erases_its_texts(
    unseen, frank, as_person, capsys, tmp_path
):
    client = as_person(frank)
    assert client.get(reverse("governance:ledger_entry", args=[unseen.pk])).status_code == 404
    page = client.get(reverse("governance:erasures"), {"number": unseen.sealed.number}).content.decode()
    for shown in ("person.changed", "reason", "Erase the texts"):
        assert shown in page
    for hidden in (SECRET, "alice"):
        assert hidden not in page, "whoever erases it is not shown it"
    answer = client.post(
        reverse("governance:erasure_ask"), {"number": unseen.sealed.number, "reason": WHY}, follow=True
    )
    assert WHY in answer.content.decode()
    assert texts(unseen) == {"reason": "(erased)"}
    entry = LedgerEntry.objects.get(action=Action.TEXT_ERASED)
    assert (entry.actor, ledger.body(entry)["details"]) == (frank, {"entry": unseen.pk, "texts": 1, "entries": 1})
    # Every proof stands: of the whole ledger, and of this entry without the server.
    ledger.seal()
    assert ledger.verify().sound
    (tmp_path / "receipt.json").write_text(json.dumps(ledger.receipt_for(unseen)))
    assert verify.main(["receipt", str(tmp_path / "receipt.json")]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("number", "reason", "said"),
    [("999999", WHY, "No entry has this number"), ("many", WHY, "Enter a whole number"), (None, "why", "at least 10")],
)
def test_what_does_not_fit_is_said_beside_the_field_and_nothing_is_erased(
    unseen, frank, as_person, number, reason, said
):
    given = {"number": unseen.sealed.number if number is None else number, "reason": reason}
    answer = as_person(frank).post(reverse("governance:erasure_ask"), given)
    assert (answer.status_code, said in answer.content.decode()) == (422, True)
    assert SECRET not in answer.content.decode()
    assert texts(unseen) == {"reason": SECRET}


def test_an_entry_without_texts_says_so_and_cannot_be_asked_for(unseen, frank, as_person):
    client = as_person(frank)
    erasures.ask(actor=frank, entry=unseen, reason=WHY)
    page = client.get(reverse("governance:erasures"), {"number": unseen.sealed.number}).content.decode()
    assert "there is nothing to erase" in page
    answer = client.post(reverse("governance:erasure_ask"), {"number": unseen.sealed.number, "reason": WHY})
    assert (answer.status_code, "no text that could be erased" in answer.content.decode()) == (422, True)


@pytest.mark.parametrize("name", ["alice", "carol", "dan", "eve"])
def test_only_an_administrator_comes_near_it(unseen, personas, name, as_person):
    client = as_person(personas[name])
    assert client.get(reverse("governance:erasures")).status_code == 403
    given = {"number": unseen.sealed.number, "reason": WHY}
    assert client.post(reverse("governance:erasure_ask"), given).status_code == 403
    with pytest.raises(access.Denied):
        erasures.ask(actor=personas[name], entry=unseen, reason=WHY)
    assert texts(unseen) == {"reason": SECRET}


def test_two_people_are_needed_where_the_operator_wants_two(
    unseen, frank, grace, dan, by_two, as_person, django_capture_on_commit_callbacks
):
    client = as_person(frank)
    given = {"number": unseen.sealed.number, "reason": WHY}
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(reverse("governance:erasure_ask"), given, follow=True)
    page = answer.content.decode()
    assert "Waits for a second person" in page
    assert "needs a second person" not in client.get("/").content.decode()
    assert "someone else decides" in page
    assert texts(unseen) == {"reason": SECRET}
    assert [message.to for message in mail.outbox] == [[grace.email]]
    assert SECRET not in mail.outbox[0].body
    asked = Erasure.objects.get()
    # Not by the one who asked, through no door; nor by anybody who may not erase.
    assert client.post(reverse("governance:erasure_agree", args=[asked.pk])).status_code == 403
    assert as_person(dan).post(reverse("governance:erasure_agree", args=[asked.pk])).status_code == 403
    with pytest.raises(access.Denied) as refused:
        erasures.decline(actor=frank, erasure=asked, reason="I changed my mind.")
    assert refused.value.code == "own_request"
    with pytest.raises(IntegrityError), transaction.atomic():
        Erasure.objects.filter(pk=asked.pk).update(decided_by=frank)
    with pytest.raises(erasures.Invalid, match="waits for a second person already"):
        erasures.ask(actor=grace, entry=unseen, reason=WHY)
    assert "1 erasure needs a second person" in as_person(grace).get("/").content.decode()
    page = as_person(grace).get(reverse("governance:erasures")).content.decode()
    assert "Erase it?" in page
    assert client.post(reverse("governance:erasure_agree", args=[asked.pk])).status_code == 302
    asked.refresh_from_db()
    assert (asked.state, asked.asked_by, asked.decided_by, asked.texts) == ("erased", frank, grace, 1)
    assert texts(unseen) == {"reason": "(erased)"}
    acts = LedgerEntry.objects.filter(action__in=[Action.ERASURE_ASKED, Action.TEXT_ERASED]).order_by("pk")
    assert [(one.action, one.actor) for one in acts] == [("erasure.asked", frank), ("text.erased", grace)]
    with pytest.raises(erasures.Decided):
        erasures.agree(actor=grace, erasure=asked)


def test_the_second_person_declines_with_a_reason(unseen, frank, grace, by_two, as_person):
    asked = erasures.ask(actor=frank, entry=unseen, reason=WHY)
    client = as_person(grace)
    decline = reverse("governance:erasure_decline", args=[asked.pk])
    empty = client.post(decline, {"reason": ""})
    assert (empty.status_code, "This field is required" in empty.content.decode()) == (422, True)
    with pytest.raises(erasures.Invalid):
        erasures.decline(actor=grace, erasure=asked, reason=" ")
    assert client.post(decline, {"reason": "We are bound to keep it until 2030."}).status_code == 302
    asked.refresh_from_db()
    assert (asked.state, asked.decided_by) == ("declined", grace)
    assert texts(unseen) == {"reason": SECRET}
    # It may be asked again, when the reason is gone.
    assert erasures.ask(actor=grace, entry=unseen, reason=WHY).state == "waiting"


def test_a_person_is_made_unknown_by_two_as_well(eve, frank, grace, by_two, as_person):
    ledger.ensure_key()
    given = {"reason": WHY, "written": "on", "confirmed": "on"}
    page = as_person(frank).post(reverse("governance:person_anonymise", args=[eve.pk]), given, follow=True)
    assert "Somebody else has to agree" in page.content.decode()
    assert User.objects.get(pk=eve.pk).name == "Eve"
    again = as_person(frank).post(reverse("governance:person_anonymise", args=[eve.pk]), given)
    assert (again.status_code, "waits for a second person already" in again.content.decode()) == (422, True)
    asked = Erasure.objects.get()
    assert str(asked) == "who Eve is"
    erasures.agree(actor=grace, erasure=asked)
    assert User.objects.get(pk=eve.pk).name == "Erased person"
    assert not ErasableText.objects.filter(text__icontains="eve").exists()


def test_nobody_erases_their_own_account_or_the_systems(frank, system):
    for person, code in ((frank, "own_account"), (system, "service_account")):
        with pytest.raises(access.Denied) as refused:
            erasures.ask(actor=frank, person=person, reason=WHY)
        assert refused.value.code == code
    with pytest.raises(erasures.Invalid, match="either which entry or which person"):
        erasures.ask(actor=frank, reason=WHY)


def test_programs_ask_agree_and_decline(unseen, eve, frank, grace, dan, by_two, as_person):
    client = as_person(frank)
    answer = client.post(f"/api/v1/ledger/{unseen.pk}/erase/", {"reason": WHY}, content_type="application/json")
    assert (answer.status_code, answer.json()["state"], answer.json()["number"]) == (
        202,
        "waiting",
        unseen.sealed.number,
    )
    first = answer.json()["id"]
    answer = client.post(f"/api/v1/people/{eve.pk}/anonymise/", {"reason": WHY}, content_type="application/json")
    assert (answer.status_code, answer.json()["person"]["name"], answer.json()["number"]) == (202, "Eve", None)
    second = answer.json()["id"]
    assert client.post(f"/api/v1/erasures/{first}/agree/").status_code == 403
    other = as_person(grace)
    assert other.post(f"/api/v1/erasures/{first}/agree/").json()["texts"] == 1
    declined = other.post(
        f"/api/v1/erasures/{second}/decline/", {"reason": "Not yet."}, content_type="application/json"
    )
    assert declined.json()["state"] == "declined"
    waiting = other.get("/api/v1/erasures/", {"state": "waiting"}).json()["results"]
    every = other.get("/api/v1/erasures/").json()["results"]
    assert (waiting, [row["id"] for row in every]) == ([], [second, first])
    # Auditors read what was asked and why; others know of none.
    assert len(as_person(dan).get("/api/v1/erasures/").json()["results"]) == 2
    assert as_person(eve).get("/api/v1/erasures/").json()["results"] == []


def test_a_program_erases_by_the_number_alone(unseen, frank, as_person):
    client = as_person(frank)
    wrong = client.post("/api/v1/erasures/", {"number": 999_999, "reason": WHY}, content_type="application/json")
    assert (wrong.status_code, "No entry has this number" in wrong.content.decode()) == (400, True)
    given = {"number": unseen.sealed.number, "reason": WHY}
    made = client.post("/api/v1/erasures/", given, content_type="application/json")
    assert (made.status_code, made.json()["state"]) == (201, "erased")
    assert texts(unseen) == {"reason": "(erased)"}
    assert SECRET not in json.dumps(made.json())
