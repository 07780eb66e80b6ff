"""Anchors: each kind against a real counterpart, what is recorded, what happens when a place does not answer."""

import base64
import hashlib
import hmac
import http.server
import json
import logging
import subprocess
import threading
import time
from datetime import timedelta

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from governance import anchors
from governance.actions import Action
from governance.anchors import rfc3161, webhook
from governance.models import Anchor, Checkpoint, LedgerEntry
from governance.services import access, ledger
from governance.services.ledger import anchoring
from tests.personas import make_person

pytestmark = pytest.mark.postgres

SECRET = base64.b64encode(b"thirty-two bytes for a test only").decode()


@pytest.fixture(autouse=True)
def key():
    """Create the signing key."""
    return ledger.ensure_key()


@pytest.fixture
def mark(system):
    """Return the newest checkpoint of a ledger in which something happened."""
    act()
    return Checkpoint.objects.first()


def act():
    """Record something and seal it."""
    ledger.record(Action.SIGNED_IN, actor=anchoring.User.objects.system())
    ledger.seal()


class Answers(http.server.BaseHTTPRequestHandler):
    """Remembers what was posted and answers as it is told."""

    def do_POST(self):
        """Answer one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), body))
        status, content = self.server.answer(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def server():
    """Return a real HTTP server on loopback; set `answer` and read `seen` and `url`."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.seen, made.answer = [], lambda body: (200, b"thanks")
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


# The kinds


def test_every_kind_keeps_the_contract():
    assert anchors.kinds() == ["file", "mail", "rfc3161", "webhook"]
    for kind in anchors.kinds():
        module = anchors.Target(kind, "x").module
        assert module.__doc__
        assert callable(module.label)
        assert callable(module.publish)


def test_a_label_holds_no_secret():
    given = {
        "file:/mnt/worm/notes.txt": "/mnt/worm/notes.txt",
        "mail:dan.the.auditor@audit.example": "audit.example",
        "webhook:https://user:pass@hooks.example:8443/T0/secret?token=x": "https://hooks.example:8443",
        "rfc3161:https://tsa.example/path": "https://tsa.example",
    }
    assert [target.label for target in anchors.targets(list(given))] == list(given.values())


@pytest.mark.parametrize("named", ["file", "file:", "cloud:x", ":x"])
def test_a_setting_that_names_no_place_says_so(named):
    with pytest.raises(anchors.BadSetting, match="is not kind:place"):
        anchors.targets([named])


def test_a_file_is_only_ever_added_to_and_verification_compares_with_it(mark, system, tmp_path, settings):
    path = tmp_path / "notes.txt"
    settings.LEDGER_ANCHORS, settings.LEDGER_ANCHOR_SECONDS = [f"file:{path}"], 0
    assert ledger.kept() == []
    assert ledger.anchor_due(actor=system) == {"anchored": 1, "failed": 0}
    first = path.read_text()
    act()
    assert ledger.anchor_due(actor=system) == {"anchored": 1, "failed": 0}
    assert path.read_text().startswith(first)
    pins = ledger.kept()
    assert [pin.size for pin in pins] == [mark.size, Checkpoint.objects.first().size]
    assert ledger.verify(pins=pins).sound
    # The same ledger with another past: the file is what tells.
    other = pins[0].note.replace(pins[0].note.splitlines()[2], base64.b64encode(b"\x01" * 32).decode())
    assert ledger.verify(pins=ledger.pins_of(other)).forked
    rolled_back = ledger.pins_of(pins[0].note.replace(f"\n{mark.size}\n", "\n99999\n"))
    report = ledger.verify(pins=rolled_back)
    assert (report.forked, "only" in report.problems[0]) == (True, True)


def test_a_file_that_cannot_be_read_back_is_passed_over(mark, system, tmp_path, settings, caplog):
    path = tmp_path / "notes.txt"
    settings.LEDGER_ANCHORS = [f"file:{path}", f"file:{tmp_path}", "mail:dan@example.org"]
    path.write_text("nothing that was signed\n\n— x AAAA\n")
    with caplog.at_level(logging.WARNING):
        assert ledger.kept() == []
    assert "Not compared with file" in caplog.text
    settings.LEDGER_ANCHORS = ["nonsense"]
    assert ledger.kept() == [], "a setting that is wrong keeps nobody from verifying"
    assert "is not kind:place" in caplog.text


def test_a_mailbox_gets_the_note(mark, system, settings):
    settings.LEDGER_ANCHORS = ["mail:auditor@audit.example"]
    ledger.anchor_due(actor=system)
    (message,) = mail.outbox
    assert message.to == ["auditor@audit.example"]
    assert mark.note in message.body
    assert message.attachments[0][1] == mark.note
    entry = LedgerEntry.objects.get(action=Action.LEDGER_ANCHORED)
    assert b"auditor@" not in bytes(entry.canonical)


def test_a_webhook_is_signed_in_the_standard_form(mark, system, server, settings):
    settings.LEDGER_ANCHORS, settings.LEDGER_WEBHOOK_SECRET = [f"webhook:{server.url}/in"], f"whsec_{SECRET}"
    assert ledger.anchor_due(actor=system) == {"anchored": 1, "failed": 0}
    ((path, headers, body),) = server.seen
    headers = {name.lower(): value for name, value in headers.items()}
    assert path == "/in"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    sent = json.loads(body)
    assert (sent["type"], sent["data"]["size"], sent["data"]["note"]) == ("ledger.checkpoint", mark.size, mark.note)
    assert bytes(Anchor.objects.get().proof) == b"thanks"


def test_the_signature_is_that_of_the_published_example():
    # The example of the Standard Webhooks specification.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = webhook.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("secret", "sentence"), [("", "at least 24"), ("whsec_c2hvcnQ=", "at least 24"), ("whsec_???", "not base64")]
)
def test_a_webhook_without_a_secret_is_not_sent(mark, system, server, settings, secret, sentence):
    settings.LEDGER_ANCHORS, settings.LEDGER_WEBHOOK_SECRET = [f"webhook:{server.url}"], secret
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 1}
    assert sentence in Anchor.objects.get().problem
    assert server.seen == []


@pytest.mark.parametrize("answer", [(302, b""), (500, b"no")])
def test_a_webhook_that_is_refused_or_sent_on_is_a_failure(mark, system, server, settings, answer):
    settings.LEDGER_ANCHORS, settings.LEDGER_WEBHOOK_SECRET = [f"webhook:{server.url}/x?secret=1"], SECRET
    server.answer = lambda body: answer
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 1}
    assert Anchor.objects.get().problem == f"{server.url} answered {answer[0]}."


# Time stamps


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return the folder of a time stamping authority: a root, a certificate for stamping, a configuration."""
    folder = tmp_path_factory.mktemp("tsa")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    (folder / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\n"
        "digests = sha256, sha512\naccuracy = secs:1\ness_cert_id_alg = sha256\n"
        "[stamping]\nextendedKeyUsage = critical, timeStamping\nbasicConstraints = CA:FALSE\n"
        "[root]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n"
    )
    (folder / "serial").write_text("01\n")
    for name, subject in (("root", "/CN=Test root"), ("tsa", "/CN=Test stamps")):
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject
        )
    certify = ("-days", "2", "-sha256", "-extfile", "tsa.cnf", "-extensions")
    openssl("x509", "-req", "-in", "root.csr", "-signkey", "root.key", "-out", "root.pem", *certify, "root")
    sign = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-out", "tsa.pem")
    openssl("x509", "-req", "-in", "tsa.csr", *sign, *certify, "stamping")
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "o.key", "-out", "other.pem", "-subj", "/CN=Other"
    )
    return folder


def stamped(folder, body):
    """Answer a query as the authority does."""
    (folder / "query.tsq").write_bytes(body)
    signer = ["-signer", "tsa.pem", "-inkey", "tsa.key"]
    command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "one", "-queryfile", "query.tsq", *signer]
    done = subprocess.run([*command, "-out", "answer.tsr"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return (folder / "answer.tsr").read_bytes()


def test_a_time_stamp_is_asked_for_verified_and_kept(mark, system, server, authority, settings):
    settings.LEDGER_ANCHORS, settings.LEDGER_TSA_ROOTS = [f"rfc3161:{server.url}"], str(authority / "root.pem")
    server.answer = lambda body: (200, stamped(authority, body))
    assert ledger.anchor_due(actor=system) == {"anchored": 1, "failed": 0}
    row = Anchor.objects.get()
    assert server.seen[0][1]["content-type"] == "application/timestamp-query"
    assert abs(rfc3161.stamped_at(bytes(row.proof), mark.note) - timezone.now()) < timedelta(minutes=1)
    # The operator's own tool agrees.
    (authority / "note.txt").write_text(mark.note)
    (authority / "kept.tsr").write_bytes(bytes(row.proof))
    command = ["openssl", "ts", "-verify", "-in", "kept.tsr", "-data", "note.txt", "-CAfile", "root.pem"]
    assert subprocess.run(command, cwd=authority, capture_output=True, check=False).returncode == 0
    with pytest.raises(anchors.Failed, match="does not verify"):
        rfc3161.stamped_at(bytes(row.proof), mark.note + "more")
    settings.LEDGER_TSA_ROOTS = str(authority / "other.pem")
    with pytest.raises(anchors.Failed, match="does not verify"):
        rfc3161.stamped_at(bytes(row.proof), mark.note)


def test_an_authority_that_does_not_answer_is_a_failure(mark, system, authority, settings):
    settings.LEDGER_ANCHORS, settings.LEDGER_TSA_ROOTS = ["rfc3161:http://127.0.0.1:1"], str(authority / "root.pem")
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 1}
    assert "did not answer: ConnectError" in Anchor.objects.get().problem


def test_a_checkpoint_that_was_kept_must_be_one_of_this_ledger(mark, settings):
    strange = mark.note.replace(settings.LEDGER_ORIGIN, "another.test/ledger")
    with pytest.raises(ledger.BadPin, match=r"another ledger, another\.test"):
        ledger.pins_of(strange)
    head, _dash, line = mark.note.rpartition("— ")
    name, _space, blob = line.strip().partition(" ")
    data = bytearray(base64.b64decode(blob))
    data[40] ^= 1
    forged = ledger.pins_of(f"{head}— {name} {base64.b64encode(bytes(data)).decode()}\n")
    report = ledger.verify(pins=forged)
    assert (report.forked, "does not verify" in report.problems[0]) == (True, True)


def test_an_old_answer_of_the_authority_is_no_stamp_of_this_request(mark, system, server, authority, settings):
    settings.LEDGER_ANCHORS, settings.LEDGER_TSA_ROOTS = [f"rfc3161:{server.url}"], str(authority / "root.pem")
    seen = []

    def replay(body):
        seen.append(stamped(authority, body))
        return 200, seen[0]

    server.answer = replay
    ledger.anchor_due(actor=system)
    act()
    settings.LEDGER_ANCHOR_SECONDS = 0
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 1}
    assert "does not verify" in Anchor.objects.first().problem


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [((200, b"not a token"), "does not verify"), ((503, b""), "answered 503"), ((200, bytes(300_000)), "300000 bytes")],
)
def test_what_is_no_time_stamp_is_a_failure(mark, system, server, authority, settings, answer, sentence):
    settings.LEDGER_ANCHORS, settings.LEDGER_TSA_ROOTS = [f"rfc3161:{server.url}"], str(authority / "root.pem")
    server.answer = lambda body: answer
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 1}
    assert sentence in Anchor.objects.get().problem


@pytest.mark.parametrize(("roots", "sentence"), [("", "names no file"), ("/dev/null", "cannot be read")])
def test_a_time_stamp_that_nobody_could_check_is_not_asked_for(mark, system, server, settings, roots, sentence):
    settings.LEDGER_ANCHORS, settings.LEDGER_TSA_ROOTS = [f"rfc3161:{server.url}"], roots
    ledger.anchor_due(actor=system)
    assert sentence in Anchor.objects.get().problem
    assert server.seen == []


# When, and what is recorded


def test_a_place_that_does_not_answer_is_asked_again_later_and_both_are_entries(
    mark, system, settings, tmp_path, monkeypatch
):
    port_nobody_listens_on = "http://127.0.0.1:1"
    settings.LEDGER_WEBHOOK_SECRET = SECRET
    settings.LEDGER_ANCHORS = [
        f"webhook:{port_nobody_listens_on}", f"rfc3161:{port_nobody_listens_on}", f"file:{tmp_path}/no/such",
    ]  # fmt: skip
    settings.LEDGER_TSA_ROOTS = ""
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 3}
    assert LedgerEntry.objects.filter(action=Action.LEDGER_ANCHOR_FAILED).count() == 3
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 0}, "not within the first minute"
    problems = set(Anchor.objects.values_list("problem", flat=True))
    assert any("did not answer: ConnectError" in problem for problem in problems)
    assert any("could not be written" in problem for problem in problems)

    now = timezone.now

    def look_after(seconds):
        """Anchor as the clock stands so much later; the rows of the attempts keep the time at which they were made."""
        with monkeypatch.context() as later:
            later.setattr(timezone, "now", lambda: now() + timedelta(seconds=seconds))
            return ledger.anchor_due(actor=system)

    assert look_after(61)["failed"] == 3
    assert look_after(61)["failed"] == 0, "the second pause is twice as long"
    (tmp_path / "no").mkdir()
    assert look_after(121) == {"anchored": 1, "failed": 2}


def test_anchoring_alone_is_no_reason_to_anchor(mark, system, tmp_path, settings):
    settings.LEDGER_ANCHORS, settings.LEDGER_ANCHOR_SECONDS = [f"file:{tmp_path / 'notes.txt'}"], 0
    for expected in (1, 0, 0):
        assert ledger.anchor_due(actor=system)["anchored"] == expected
        ledger.seal()
    act()
    assert ledger.anchor_due(actor=system)["anchored"] == 1
    settings.LEDGER_ANCHOR_SECONDS = 3600
    act()
    assert ledger.anchor_due(actor=system)["anchored"] == 0, "not before the hour"


def test_pages_are_told_what_is_anchored_where(mark, system, tmp_path, settings):
    settings.LEDGER_ANCHORS, settings.LEDGER_ANCHOR_SECONDS = [f"file:{tmp_path / 'a'}", f"file:{tmp_path / 'b'}"], 0
    ledger.anchor_due(actor=system)
    act()
    settings.LEDGER_ANCHORS = [f"file:{tmp_path / 'a'}", f"file:{tmp_path}/no/such"]
    ledger.anchor_due(actor=system)
    rows = ledger.newest()
    assert [(row.place.rsplit("/")[-1], row.succeeded) for row in rows] == [("such", False), ("a", True), ("b", True)]
    assert [row.size for row in ledger.covering(0)] == [mark.size]
    assert ledger.covering(10_000) == []


def test_nothing_is_anchored_before_anything_is_sealed_or_by_just_anybody(system, settings):
    settings.LEDGER_ANCHORS = ["mail:dan@example.org"]
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 0}
    with pytest.raises(access.Denied):
        ledger.anchor_due(actor=make_person("heidi"))
    assert not mail.outbox


def test_a_mail_server_that_refuses_is_a_failure(mark, system, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    settings.LEDGER_ANCHORS = ["mail:dan@example.org"]
    assert ledger.anchor_due(actor=system) == {"anchored": 0, "failed": 1}
    assert "did not take the message" in Anchor.objects.get().problem


def test_attempts_are_append_only(mark, system, tmp_path, settings):
    settings.LEDGER_ANCHORS = [f"file:{tmp_path / 'notes.txt'}"]
    ledger.anchor_due(actor=system)
    for act_ in (lambda: Anchor.objects.update(succeeded=False), lambda: Anchor.objects.all()._raw_delete("default")):
        with pytest.raises(IntegrityError), transaction.atomic():
            act_()
