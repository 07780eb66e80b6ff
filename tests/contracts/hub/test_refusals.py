"""What a client is told when it may not: the exception that it raises, with the sentence that says what to do.

Every case here is a way around the rules that has to stay closed.
"""

from __future__ import annotations

import pytest

from tests.rig import hub_clients

DISABLED = "Access to this resource is disabled."

# Who asks for what, and the status, code and words of the answer.
FILES = [
    ("eve", "/helpdesk/nothing/resolve/main/config.json", 404, "RepoNotFound", "no repository"),
    ("eve", "/helpdesk/ours/resolve/main/config.json", 404, "RepoNotFound", "no repository"),
    ("bob", "/finance/payroll/resolve/main/config.json", 404, "RepoNotFound", "no repository"),
    ("alice, training only", "/helpdesk/sorter/resolve/main/config.json", 404, "RepoNotFound", "no repository"),
    ("alice, finance only", "/helpdesk/sorter/resolve/main/config.json", 404, "RepoNotFound", "no repository"),
    ("", "/helpdesk/sorter/resolve/main/config.json", 401, "RepoNotFound", "HF_TOKEN"),
    ("bob", "/helpdesk/waiting/resolve/main/config.json", 403, "GatedRepo", "/models/helpdesk/waiting/"),
    ("eve, read only", "/helpdesk/sorter/resolve/main/config.json", 403, "", "do not include"),
    ("bob, read only", "/helpdesk/sorter/resolve/main/config.json", 403, "", "do not include"),
    ("eve", "/helpdesk/stopped/resolve/main/config.json", 403, "", DISABLED),
    ("bob", "/helpdesk/stopped/resolve/main/config.json", 403, "", DISABLED),
    ("bob", "/helpdesk/stopped/resolve/v1/config.json", 403, "", DISABLED),
    ("eve", "/helpdesk/sorter/resolve/v2/config.json", 404, "RevisionNotFound", "no revision"),
    ("eve", "/helpdesk/sorter/resolve/challenger/config.json", 404, "RevisionNotFound", "no revision"),
    ("bob", "/helpdesk/sorter/resolve/v9/config.json", 404, "RevisionNotFound", "no revision"),
    ("bob", "/helpdesk/sorter/resolve/refs%2Fpr%2F1/config.json", 404, "RevisionNotFound", "no revision"),
    ("bob", "/helpdesk/sorter/resolve/main/pickle.bin", 404, "EntryNotFound", "pickle.bin"),
    ("bob", "/helpdesk/sorter/resolve/main/..%2F..%2Fsecret.key", 404, "EntryNotFound", "secret"),
    ("eve", "/base/waiting-bert/resolve/main/config.json", 403, "GatedRepo", "waits for a reviewer"),
    ("eve", "/datasets/helpdesk/requests/resolve/v2/data/train.parquet", 403, "GatedRepo", "not cleared"),
    ("bob", "/datasets/finance/invoices/resolve/main/data/train.parquet", 404, "RepoNotFound", "no repository"),
    ("dan", "/datasets/helpdesk/requests/resolve/main/data/train.parquet", 403, "GatedRepo", "dataset.download"),
]  # fmt: skip


@pytest.mark.parametrize(("person", "path", "status", "code", "words"), FILES)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_is_refused_in_the_clients_own_words(hub, method, person, path, status, code, words):
    answer = hub.ask(person, method, path)
    assert answer.status_code == status, answer.text
    assert answer.headers.get("X-Error-Code", "") == code
    assert words in answer.headers["X-Error-Message"]
    assert answer.headers["X-Request-Id"]
    assert b"hidden_size" not in answer.content
    if code == "EntryNotFound":
        assert answer.headers["X-Repo-Commit"] == hub.commits["sorter"]


def test_a_bad_token_is_told_apart_from_a_repository_that_is_not_there(hub):
    headers = {"Authorization": "Bearer gh_forged"}
    for path in ("/api/whoami-v2", "/api/models/helpdesk/sorter", "/helpdesk/sorter/resolve/main/config.json"):
        answer = hub.http.get(hub.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
        assert "X-Error-Code" not in answer.headers


def test_a_refusal_is_in_the_ledger_and_a_download_is_not(hub):
    before = hub.entries("model.downloaded", 1)
    hub.ask("eve", "GET", "/helpdesk/stopped/resolve/main/config.json")
    newest = hub.entries("request.refused")[0]
    assert (newest["who"], newest["path"]) == ("eve", "/helpdesk/stopped/resolve/main/config.json")
    assert hub.entries("model.downloaded", 1) == before


EXCEPTIONS = """
import json
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
def name(what, *given, **named):
    try:
        return "no error: " + str(what(*given, **named))
    except Exception as error:
        said = ""
        while error is not None:
            said += type(error).__name__ + ": " + " ".join(str(error).split()) + " "
            error = error.__cause__
        return said
print(json.dumps({
    "none": name(hf_hub_download, "helpdesk/nothing", "config.json"),
    "gated": name(hf_hub_download, "helpdesk/waiting", "config.json"),
    "gated snapshot": name(snapshot_download, "helpdesk/waiting"),
    "stopped": name(hf_hub_download, "helpdesk/stopped", "config.json"),
    "stopped snapshot": name(snapshot_download, "helpdesk/stopped"),
    "revision": name(hf_hub_download, "helpdesk/sorter", "config.json", revision="v9"),
    "entry": name(hf_hub_download, "helpdesk/sorter", "pickle.bin"),
    "info": HfApi().model_info("helpdesk/waiting").gated,
    "whoami": name(HfApi(token="gh_forged").whoami),
}))
"""


@pytest.mark.parametrize("version", ["process", "0.36.2"])
def test_each_refusal_raises_the_exception_that_is_meant_for_it(hub, at_home, version):
    import sys

    python = sys.executable if version == "process" else hub_clients.python(version)
    found, said = at_home("bob").run(EXCEPTIONS, python=python)
    assert found["none"].startswith("RepositoryNotFoundError")
    assert found["gated"].startswith("GatedRepoError")
    assert f"{hub.url}/models/helpdesk/waiting/" in found["gated"]
    assert found["gated snapshot"].startswith("GatedRepoError")
    assert "DisabledRepoError" in found["stopped"]
    # Newer clients print why; what is asked first, HEAD, has no body to say it in.
    assert "It answers rudely." in said or version != "process"
    assert "disabled" in found["stopped snapshot"]
    assert found["revision"].startswith("RevisionNotFoundError")
    assert "EntryNotFoundError" in found["entry"].partition(":")[0]
    assert found["info"] == "manual"
    assert "Invalid user token" in found["whoami"] or "Invalid credentials" in found["whoami"]


PULL = """
import json
from huggingface_hub import hf_hub_download, snapshot_download
def name(what, *given, **named):
    try:
        return what(*given, **named)
    except Exception as error:
        said = ""
        while error is not None:
            said += type(error).__name__ + ": " + " ".join(str(error).split()) + " "
            error = error.__cause__
        return said
file = ("helpdesk/doomed", "config.json")
one = name(hf_hub_download, *file)
print(json.dumps([one, name(snapshot_download, "helpdesk/doomed"), name(hf_hub_download, *file)]))
"""


def test_a_publication_that_is_stopped_is_gone_at_once_and_named_even_where_a_cache_is_warm(hub, at_home):
    warm, cold = at_home("eve"), at_home("bob")
    before, _said = warm.run(PULL)
    assert all(path.startswith(str(warm.home)) for path in before)
    number = hub.publications["doomed"]
    stopped = hub.ask("carol", "POST", f"/api/v1/publications/{number}/suspend/", json={"reason": "It leaks names."})
    assert stopped.status_code == 200, stopped.text
    after, said = warm.run(PULL)
    # A single file comes out of the client's own cache, as its makers decided, but not without a word.
    assert after[0] == before[0]
    assert "It leaks names." in said
    # A snapshot asks for the commit first, which is no longer the one in the cache, and a file is then not found there.
    assert "disabled" in after[1]
    assert "disabled" in after[2]
    both, _said = cold.run(PULL)
    assert all("disabled" in one for one in both)


def test_what_is_published_is_there_at_once(hub, at_home):
    asked = hub.ask(
        "alice", "POST", "/api/v1/models/helpdesk/waiting/versions/1/publications/",
        json={"alias": "pilot", "audience": "organisation", "intended_use": "Suggest a queue."},
    )  # fmt: skip
    assert asked.status_code == 201, asked.text
    path = "/helpdesk/waiting/resolve/pilot/config.json"
    assert hub.ask("eve", "GET", path).status_code == 404
    review = asked.json()["request"] if "request" in asked.json() else asked.json()["id"]
    etag = hub.ask("carol", "GET", f"/api/v1/approvals/{review}/").headers["ETag"]
    done = hub.ask(
        "carol", "POST", f"/api/v1/approvals/{review}/decide/", json={"verdict": "approve"}, headers={"If-Match": etag}
    )
    assert done.status_code in {200, 201}, done.text
    assert hub.ask("eve", "GET", path).status_code == 200
