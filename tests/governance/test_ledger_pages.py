"""What people and programs get of the ledger: proof states, receipts, exports, verification with progress, erasure."""

import asyncio
import os
import subprocess
import sys

import pytest
from django.core.management import call_command
from django.test import AsyncRequestFactory
from django.urls import reverse
from django.utils import timezone

from governance import queue, tasks
from governance.actions import Action
from governance.interfaces import streaming
from governance.models import Anchor, Checkpoint, ErasableText, LedgerEntry, Receipt, Verification
from governance.policy import Gate, Role
from governance.proofs import verify
from governance.services import access, ledger
from governance.services.ledger import background, verification
from projects.services import use_cases
from tests import factories
from tests.personas import make_role

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def key():
    """Create the signing key."""
    return ledger.ensure_key()


@pytest.fixture
def decided(alice, carol, team):
    """Return the entry of carol's decision about alice's use case, sealed."""
    use_case = use_cases.submit(actor=alice, use_case=factories.make_ready_use_case(actor=alice, team=team))
    factories.approve(reviewer=carol, subject=use_case, gate=Gate.USE_CASE_DEVELOPMENT)
    ledger.seal()
    return LedgerEntry.objects.select_related("sealed").get(action=Action.APPROVAL_APPROVED)


@pytest.fixture
def as_person(client):
    """Return a function that signs a person in and gives the client."""

    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


# The entry's page and its receipt


def test_an_entry_shows_its_proof_and_where_it_is_anchored(decided, carol, as_person, django_assert_max_num_queries):
    mark = Checkpoint.objects.first()
    Anchor.objects.create(kind="file", place="/mnt/worm", size=mark.size, root=mark.root, succeeded=True)
    url = reverse("governance:ledger_entry", args=[decided.pk])
    client = as_person(carol)
    with django_assert_max_num_queries(12):
        page = client.get(url).content.decode()
    assert "Holds" in page
    assert "/mnt/worm" in page
    assert reverse("governance:ledger_receipt", args=[decided.pk]) in page
    assert "Erase its texts" not in page


def test_an_entry_that_waits_says_so_and_has_no_receipt_yet(decided, alice, as_person):
    waiting = ledger.record(Action.SIGNED_IN, actor=alice)
    client = as_person(alice)
    page = client.get(reverse("governance:ledger_entry", args=[waiting.pk])).content.decode()
    assert "not sealed yet" in page
    assert client.get(reverse("governance:ledger_receipt", args=[waiting.pk])).status_code == 404
    assert client.get(f"/api/v1/ledger/{waiting.pk}/receipt/").status_code == 404


def test_an_entry_whose_proof_does_not_hold_says_so(decided, carol, as_person):
    from tests.governance.services.test_ledger import force

    force("UPDATE governance_ledgerentry SET leaf_hash = %s WHERE id = %s", b"\x00" * 32, decided.pk)
    page = as_person(carol).get(reverse("governance:ledger_entry", args=[decided.pk])).content.decode()
    assert "Does not hold" in page


def test_a_receipt_is_for_whoever_may_see_the_entry(decided, carol, alice, eve, as_person):
    url = reverse("governance:ledger_receipt", args=[decided.pk])
    for person in (carol, alice):
        answer = as_person(person).get(url)
        assert f"receipt-{decided.sealed.number}.json" in answer["Content-Disposition"]
        assert verify.verify_receipt(answer.json()).code == verify.SOUND
        assert verify.verify_receipt(as_person(person).get(f"/api/v1/ledger/{decided.pk}/receipt/").json()).code == 0
    assert as_person(eve).get(url).status_code == 404
    assert as_person(eve).get(f"/api/v1/ledger/{decided.pk}/receipt/").status_code == 404


def test_my_receipts_are_mine(decided, carol, alice, as_person, django_assert_max_num_queries):
    client = as_person(carol)
    with django_assert_max_num_queries(12):
        page = client.get(reverse("governance:receipts")).content.decode()
    assert reverse("governance:ledger_receipt", args=[decided.pk]) in page
    (row,) = client.get("/api/v1/ledger/receipts/").json()["results"]
    assert (row["entry"], row["number"], row["sent_at"]) == (decided.pk, decided.sealed.number, None)
    assert "No receipts yet" in as_person(alice).get(reverse("governance:receipts")).content.decode()
    assert as_person(alice).get("/api/v1/ledger/receipts/").json()["results"] == []
    Receipt.objects.update(problem="ConnectionRefusedError: nobody there")
    assert "not sent yet" in as_person(carol).get(reverse("governance:receipts")).content.decode()


def test_the_api_proves_that_the_ledger_only_grew(decided, carol, alice, as_person):
    old = Checkpoint.objects.first()
    receipt = ledger.receipt_for(decided)
    for _ in range(3):
        ledger.record(Action.SIGNED_IN, actor=alice)
        ledger.seal()
    client = as_person(carol)
    later = client.get(f"/api/v1/ledger/consistency/?from={old.size}").json()
    assert verify.verify_receipt(receipt, later=later).code == verify.SOUND
    newer = Checkpoint.objects.all()[1]
    assert f"\n{newer.size}\n" in client.get(f"/api/v1/ledger/consistency/?from=1&to={newer.size}").json()["checkpoint"]
    for query in ("", "?from=x", "?from=1&to=9999", "?to=1", "?from=-1"):
        assert client.get(f"/api/v1/ledger/consistency/{query}").status_code == 400, query
    assert client.get("/api/v1/ledger/consistency/?from=9999").status_code == 404


# Exports


def test_an_auditor_exports_in_the_browser_and_by_the_api(decided, dan, as_person, tmp_path):
    client = as_person(dan)
    answers = [
        client.post(reverse("governance:ledger_archive"), {"start": 2, "texts": "on"}),
        client.get("/api/v1/ledger/export/?from=2&texts=true"),
    ]
    for answer in answers:
        assert answer["Content-Type"] == "application/zip"
        assert "attachment" in answer["Content-Disposition"]
        path = tmp_path / "export.zip"
        path.write_bytes(b"".join(answer.streaming_content))
        found = verify.verify_export(path)
        assert (found.code, found.start) == (verify.SOUND, 2)
        assert found.texts
    assert LedgerEntry.objects.filter(action=Action.LEDGER_EXPORTED, actor=dan).count() == 2


def test_an_export_is_for_auditors(decided, alice, carol, frank, as_person):
    for person in (alice, carol, frank):
        assert as_person(person).post(reverse("governance:ledger_archive"), {"start": 0}).status_code == 403
        assert as_person(person).get("/api/v1/ledger/export/").status_code == 403
        assert LedgerEntry.objects.filter(action=Action.REFUSED, actor=person).exists()
    assert not LedgerEntry.objects.filter(action=Action.LEDGER_EXPORTED).exists()


def test_a_stretch_that_is_not_there_keeps_what_was_typed(decided, dan, as_person):
    answer = as_person(dan).post(reverse("governance:ledger_archive"), {"start": 99_999})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert 'value="99999"' in page
    assert "entries are sealed" in page
    assert as_person(dan).post(reverse("governance:ledger_archive"), {"start": "x"}).status_code == 422
    assert as_person(dan).get("/api/v1/ledger/export/?from=99999").status_code == 404
    assert as_person(dan).get("/api/v1/ledger/export/?from=x").status_code == 400


def test_an_asynchronous_server_sends_piece_by_piece_and_stops_when_the_reader_goes():
    made, closed = [], []

    def pieces():
        try:
            for number in range(5):
                made.append(number)
                yield bytes([number])
        finally:
            closed.append(True)

    async def read(limit):
        request = AsyncRequestFactory().get("/")
        answer = streaming.attachment(request, pieces(), filename="x.zip", content_type="application/zip")
        got = []
        stream = answer.streaming_content
        async for piece in stream:
            got.append(piece)
            if len(got) == limit:
                break
        await stream.aclose()
        return got

    # Each piece leaves its database connection; the test's own is in another thread.
    assert asyncio.run(read(2)) == [b"\x00", b"\x01"]
    assert (made, closed) == ([0, 1], [True])
    assert len(asyncio.run(read(99))) == 5


# Verification


def test_a_worker_verifies_with_progress_and_the_result_is_an_entry(decided, dan, as_person, monkeypatch):
    client = as_person(dan)
    answer = client.post("/api/v1/ledger/verify/")
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    again = client.post("/api/v1/ledger/verify/").json()
    assert again["id"] == answer.json()["id"], "one at a time"
    seen = []
    monkeypatch.setattr(background, "SIGN_OF_LIFE", 0)
    original = verification._in_order

    def watched(upto, chunk):
        for number, row in enumerate(original(upto, chunk)):
            if number == 5:
                seen.append(client.get(reverse("governance:verification")).content.decode())
            yield row

    monkeypatch.setattr(verification, "_in_order", watched)
    tasks.verify_ledger(answer.json()["id"])
    assert "Verifying every entry" in seen[0]
    done = client.get("/api/v1/ledger/verification/").json()
    assert (done["state"], done["done"]) == ("sound", Checkpoint.objects.first().size)
    entry = LedgerEntry.objects.get(action=Action.LEDGER_VERIFIED)
    assert (entry.actor, ledger.body(entry)["details"]["sound"]) == (dan, True)
    assert "hx-trigger" not in client.get(reverse("governance:verification")).content.decode()
    assert "A worker verified" in client.get(reverse("governance:compliance")).content.decode()
    tasks.verify_ledger(answer.json()["id"])
    assert LedgerEntry.objects.filter(action=Action.LEDGER_VERIFIED).count() == 1, "a second ring finds nothing to do"


def test_a_worker_says_what_is_wrong(decided, dan, as_person):
    from tests.governance.services.test_ledger import force

    force("UPDATE governance_ledgerentry SET action = 'x' WHERE id = %s", decided.pk)
    asked = ledger.ask(actor=dan)
    assert ledger.run_verification(asked.pk).state == "unsound"
    page = as_person(dan).get(reverse("governance:compliance")).content.decode()
    assert "Not sound: Entry" in page


def test_a_worker_that_died_is_replaced_and_one_that_was_paused_changes_nothing(decided, dan, monkeypatch):
    asked = ledger.ask(actor=dan)
    rung = []
    monkeypatch.setattr(queue, "ring", lambda pk: rung.append(pk) or True)
    assert ledger.ring_again() == 0, "it was rung a moment ago"
    long_ago = timezone.now() - background.LEASE * 2
    Verification.objects.update(state="running", token=1, alive_at=timezone.now())
    assert ledger.run_verification(asked.pk) is None
    assert ledger.ring_again() == 0, "somebody does it"
    Verification.objects.update(alive_at=long_ago)
    assert (ledger.ring_again(), rung) == (1, [asked.pk])
    monkeypatch.setattr(background, "SIGN_OF_LIFE", 0)
    original = verification._in_order

    def stolen(upto, chunk):
        yield from original(upto, chunk)
        Verification.objects.update(token=77)

    monkeypatch.setattr(verification, "_in_order", stolen)
    assert ledger.run_verification(asked.pk).state == "running", "the one that took over will say"
    assert not LedgerEntry.objects.filter(action=Action.LEDGER_VERIFIED).exists()

    def fenced(upto, chunk):
        Verification.objects.update(token=99)
        yield from original(upto, 1)

    Verification.objects.update(alive_at=long_ago)
    monkeypatch.setattr(verification, "_in_order", fenced)
    real = verification.verify
    monkeypatch.setattr(verification, "verify", lambda **given: real(chunk=1, **given))
    assert ledger.run_verification(asked.pk) is None


def test_signs_of_life_are_given_once_a_second(decided, dan, monkeypatch):
    asked = ledger.ask(actor=dan)
    real = verification.verify
    monkeypatch.setattr(verification, "verify", lambda **given: real(chunk=1, **given))
    assert ledger.run_verification(asked.pk).state == "sound"


def test_without_a_key_a_verification_says_why_it_failed(decided, dan, tmp_path, settings, monkeypatch):
    asked = ledger.ask(actor=dan)
    monkeypatch.setattr(verification, "verify", lambda **_: (_ for _ in ()).throw(ledger.NoKey("no key")))
    assert ledger.run_verification(asked.pk).state == "failed"
    assert Verification.objects.get().problem == "no key"


def test_verifying_is_for_auditors_and_looking_for_those_who_oversee(decided, alice, carol, as_person):
    assert as_person(carol).post("/api/v1/ledger/verify/").status_code == 403
    assert as_person(carol).get("/api/v1/ledger/verification/").status_code == 404
    assert as_person(alice).get("/api/v1/ledger/verification/").status_code == 403
    assert as_person(alice).get(reverse("governance:verification")).status_code == 403
    with pytest.raises(access.Denied):
        ledger.ask(actor=alice)


def test_a_broker_that_is_down_is_a_line_in_the_log(caplog, settings):
    from celery import current_app

    before = current_app.conf.broker_url
    current_app.conf.broker_url = "redis://127.0.0.1:1"
    try:
        assert queue.ring(1) is False
    finally:
        current_app.conf.broker_url = before
    assert "did not ring" in caplog.text


# Compliance and erasure


def test_the_compliance_page_says_what_is_anchored_and_owed(decided, dan, as_person, django_assert_max_num_queries):
    mark = Checkpoint.objects.first()
    Anchor.objects.create(kind="mail", place="audit.example", size=mark.size, root=mark.root, succeeded=True)
    Anchor.objects.create(
        kind="webhook", place="https://x.example", size=mark.size, root=mark.root, succeeded=False, problem="No answer."
    )
    Receipt.objects.update(problem="SMTPServerDisconnected")
    client = as_person(dan)
    with django_assert_max_num_queries(14):
        page = client.get(reverse("governance:compliance")).content.decode()
    for words in ("audit.example", "No answer.", "1 receipt could not be mailed", "since the beginning"):
        assert words in page
    rows = client.get("/api/v1/ledger/anchors/").json()["results"]
    assert [row["succeeded"] for row in rows] == [False, True]


def test_an_administrator_erases_the_texts_of_an_entry(decided, alice, frank, dan, as_person):
    about_frank = ledger.record(Action.PERSON_CHANGED, actor=frank, subject=frank, texts={"reason": "Fred moved"})
    url = reverse("governance:ledger_entry", args=[about_frank.pk])
    client = as_person(frank)
    assert "Erase its texts" in client.get(url).content.decode()
    bad = client.post(reverse("governance:ledger_erase", args=[about_frank.pk]), {"reason": "short"})
    assert (bad.status_code, "short" in bad.content.decode()) == (422, True)
    assert ErasableText.objects.filter(entry=about_frank).exists()
    good = {"reason": "Article 17, asked for in May"}
    assert client.post(reverse("governance:ledger_erase", args=[about_frank.pk]), good).status_code == 302
    assert "(erased)" in client.get(url).content.decode()
    again = client.post(reverse("governance:ledger_erase", args=[about_frank.pk]), good, follow=True)
    assert "no text that could be erased" in again.content.decode()
    assert as_person(dan).post(reverse("governance:ledger_erase", args=[decided.pk]), good).status_code == 403
    texted = ledger.record(Action.PERSON_CHANGED, actor=frank, subject=alice, texts={"reason": "x"})
    answer = as_person(frank).post(f"/api/v1/ledger/{texted.pk}/erase/", good, content_type="application/json")
    assert (answer.status_code, answer.json()["id"]) == (200, texted.pk)
    assert ledger.texts_of(LedgerEntry.objects.get(pk=texted.pk)) == {"reason": "(erased)"}
    # What they may not read they may erase all the same, without being shown it.
    unseen = ledger.record(Action.PERSON_CHANGED, actor=alice, subject=alice, texts={"reason": "Alice moved"})
    address = reverse("governance:ledger_erase", args=[unseen.pk])
    assert client.get(reverse("governance:ledger_entry", args=[unseen.pk])).status_code == 404
    assert as_person(frank).post(address, {"reason": "short"}).status_code == 400
    assert as_person(frank).post(address, good).url == reverse("governance:erasures")
    assert ledger.texts_of(LedgerEntry.objects.get(pk=unseen.pk)) == {"reason": "(erased)"}


def test_an_administrator_anonymises_a_person_on_their_page(decided, eve, bob, frank, dan, as_person):
    url = reverse("governance:person_anonymise", args=[eve.pk])
    client = as_person(frank)
    unsure = client.post(url, {"reason": "Article 17, asked for in May"})
    assert (unsure.status_code, "Tick this to go on" in unsure.content.decode()) == (422, True)
    eve.refresh_from_db()
    assert eve.name == "Eve"
    answer = client.post(url, {"reason": "Article 17, asked for in May", "confirmed": "on"}, follow=True)
    assert "Erased person" in answer.content.decode()
    assert "Erase who they are" not in answer.content.decode(), "there is nothing left to erase"
    body = {"reason": "Article 17, asked for in May", "written": True}
    answer = client.post(f"/api/v1/people/{bob.pk}/anonymise/", body, content_type="application/json")
    assert answer.json()["name"] == "Erased person"
    assert as_person(dan).post(url, {"reason": "Article 17, asked for", "confirmed": "on"}).status_code == 403


# The sequencer's errands


def test_the_errands_of_the_sequencer_are_run_whatever_one_of_them_meets(decided, system, settings, tmp_path, caplog):
    from governance.management.commands import seal_ledger

    settings.LEDGER_ANCHORS = [f"file:{tmp_path / 'notes.txt'}"]
    seal_ledger.run_errands()
    assert Anchor.objects.get().succeeded
    assert Receipt.objects.get().sent_at is not None
    settings.LEDGER_ANCHORS = ["nonsense"]
    seal_ledger.run_errands()
    assert "is not kind:place" in caplog.text


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_sequencer_watches_anchors_and_stops_when_told(tmp_path, alice):
    from django.db import connection

    if connection.vendor != "sqlite":
        pytest.skip("the process is the same; the file of SQLite is what a second process can open here")
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "LEDGER_ANCHORS": f"file:{tmp_path / 'notes.txt'}",
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DEBUG": "1",
    }
    command = [sys.executable, "manage.py", "seal_ledger", "--watch", "--interval", "0.05"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = timezone.now().timestamp() + 60
        while not (tmp_path / "notes.txt").exists() and timezone.now().timestamp() < deadline:
            assert process.poll() is None, process.stdout.read().decode()
            __import__("time").sleep(0.1)
    finally:
        process.terminate()
        output, _nothing = process.communicate(timeout=30)
    assert process.returncode == 0, output.decode()
    assert (tmp_path / "notes.txt").read_text().count("— ") == 1


def test_the_command_hands_on_the_key(decided, capsys):
    call_command("seal_ledger", ensure_key=True)
    assert "The ledger's key is" in capsys.readouterr().out


def test_a_role_that_reads_everything_still_exports_nothing(decided, eve, as_person):
    make_role(eve, Role.REVIEWER)
    assert as_person(eve).get("/api/v1/ledger/export/").status_code == 403
    answer = as_person(eve).get("/api/v1/ledger/checkpoint/")
    assert answer.json()["public_key"] == ledger.public_key().hex()


# Finding one's way


def test_the_filters_suggest_people_and_things_by_their_names(decided, alice, dan, eve, team, as_person):
    client = as_person(dan)
    actors, subjects = reverse("governance:ledger_actors"), reverse("governance:ledger_subjects")
    assert "alice@example.org" in client.get(actors, {"actor": "Ali"}).content.decode()
    assert client.get(actors, {"actor": "A"}).content == b"\n"
    use_case = decided_subject(decided)
    found = client.get(subjects, {"subject": "desk sort"}).content.decode()
    assert f'value="projects.usecase:{use_case.pk}"' in found
    assert f'value="projects.team:{team.pk}"' in client.get(subjects, {"subject": "help"}).content.decode()
    assert f'value="governance.user:{alice.pk}"' in client.get(subjects, {"subject": "alice@"}).content.decode()
    kinds = client.get(subjects).content.decode()
    assert 'value="projects.usecase"' in kinds
    assert "projects.usecase:" not in kinds
    # Nothing is suggested that the reader may not see.
    assert "projects.usecase:" not in as_person(eve).get(subjects, {"subject": "desk sort"}).content.decode()


def decided_subject(entry):
    """Return what the decision in an entry was about."""
    from governance.models import ApprovalRequest

    return ApprovalRequest.objects.get(pk=entry.subject_id).subject


def test_the_explorer_is_filtered_by_a_name_that_names_one_person(decided, dan, as_person):
    client = as_person(dan)

    def actors(typed):
        answer = client.get(reverse("governance:ledger"), {"actor": typed})
        assert answer.status_code == 200
        return {str(row.actor) for row in answer.context["shown"].rows}

    assert actors("carol@example.org") == actors("Carol") == actors("caro") == {"Carol"}
    assert actors("a") == actors("nobody at all") == set(), "several people, or none: the list helps to choose"


def test_an_end_that_was_left_open_is_not_among_the_details(decided, dan, as_person):
    page = as_person(dan).get(reverse("governance:ledger_entry", args=[decided.pk])).content.decode()
    assert "<dt>gate</dt>" in page
    assert "<dt>until</dt>" not in page
    assert '"until":""' in page.replace("&quot;", '"'), "the exact bytes still hold it"


def test_a_review_leads_an_approver_to_their_own_receipt(decided, carol, dan, as_person):
    from governance.models import ApprovalRequest

    asked = ApprovalRequest.objects.get(pk=decided.subject_id)
    decision = asked.decisions.get()
    address = reverse("governance:decision_receipt", args=[asked.pk, decision.pk])
    client = as_person(carol)
    assert address in client.get(reverse("governance:review", args=[asked.pk])).content.decode()
    answer = client.get(address, follow=True)
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer.json()["entry"]["number"] == decided.sealed.number
    other = as_person(dan)
    assert address not in other.get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert other.get(address).status_code == 404


def test_a_verification_that_another_worker_took_over_at_its_end_writes_nothing(decided, dan, monkeypatch):
    asked = ledger.ask(actor=dan)
    whole = verification.verify

    def taken_over(**options):
        report = whole(**options)
        # The pause was longer than the lease: somebody else does it now.
        Verification.objects.filter(pk=asked.pk).update(token=99)
        return report

    monkeypatch.setattr(verification, "verify", taken_over)
    left = background.run(asked.pk)
    assert (left.state, left.finished_at) == ("running", None)
    assert not LedgerEntry.objects.filter(action=Action.LEDGER_VERIFIED).exists()


def test_an_empty_stretch_is_not_exported(decided, dan):
    with pytest.raises(ledger.NotSealed, match="is empty"):
        ledger.begin(actor=dan, start=2, upto=1)


def test_a_verification_tells_how_far_it_has_come(decided, dan, monkeypatch):
    asked = ledger.ask(actor=dan)
    seen = []
    monkeypatch.setattr(background, "SIGN_OF_LIFE", 0)
    whole = verification.verify

    def watched(*, progress, **options):
        def tell(done, size):
            progress(done, size)
            seen.append(Verification.objects.values_list("done", flat=True).get(pk=asked.pk))

        return whole(progress=tell, chunk=1, **options)

    monkeypatch.setattr(verification, "verify", watched)
    assert background.run(asked.pk).state == "sound"
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 3
