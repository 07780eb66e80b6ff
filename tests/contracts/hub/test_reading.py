"""The clients of three major versions, unmodified, read models, base models and datasets from the portal."""

from __future__ import annotations

import sys

import pytest

from tests.rig import hub_clients

LOOK = """
import json, os, pathlib
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, __version__
api = HfApi()
me, data = api.whoami(), api.dataset_info("helpdesk/requests")
info = api.model_info("helpdesk/sorter", files_metadata=True)
tree = list(api.list_repo_tree("helpdesk/sorter", recursive=True))
paths = api.get_paths_info("helpdesk/sorter", ["config.json", "onnx", "nothing.txt"])
refs = api.list_repo_refs("helpdesk/sorter")
snapshot = pathlib.Path(snapshot_download("helpdesk/sorter", ignore_patterns=["onnx/*"]))
v1 = hf_hub_download("helpdesk/sorter", "config.json", revision="v1")
try:
    api.auth_check("helpdesk/sorter")
    checked = True
except Exception as error:
    checked = str(error)
print(json.dumps({
    "version": __version__, "me": me["name"], "orgs": [o["name"] for o in me["orgs"]],
    "role": me["auth"]["accessToken"]["role"],
    "sha": info.sha, "gated": info.gated, "tag": info.pipeline_tag,
    "sizes": {s.rfilename: s.size for s in info.siblings},
    "models": sorted(m.id for m in api.list_models(limit=50)),
    "one": [m.id for m in api.list_models(search="sort")], "bases": [m.id for m in api.list_models(author="base")],
    "datasets": [d.id for d in api.list_datasets()],
    "tree": sorted((type(f).__name__, f.path) for f in tree),
    "lfs": [f.path for f in tree if getattr(f, "lfs", None)],
    "paths": [(type(p).__name__, p.path) for p in paths],
    "branches": {b.name: b.target_commit for b in refs.branches}, "tags": {t.name: t.target_commit for t in refs.tags},
    "commits": [(c.title, c.commit_id) for c in api.list_repo_commits("helpdesk/sorter")],
    "exists": [api.repo_exists("helpdesk/sorter"), api.repo_exists("finance/payroll"),
               api.file_exists("helpdesk/sorter", "config.json"), api.file_exists("helpdesk/sorter", "pickle.bin")],
    "checked": checked, "snapshot": snapshot.name,
    "files": sorted(p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()),
    "v1": pathlib.Path(v1).parent.name, "data": data.sha, "card": data.card_data.to_dict() if data.card_data else {},
}))
"""


@pytest.fixture(scope="module", params=["process", *hub_clients.VERSIONS])
def looked(request, hub, tmp_path_factory):
    """Return what bob finds, and the commit ids that are right."""
    from tests.contracts.hub.conftest import Person

    python = sys.executable if request.param == "process" else hub_clients.python(request.param)
    found, said = Person(hub, tmp_path_factory.mktemp("bob"), "bob").run(LOOK, python=python)
    assert request.param in {found["version"], "process"}
    return found, said, hub


def test_whoami_names_the_person_their_teams_and_their_token(looked):
    found, _said, _hub = looked
    assert (found["me"], found["orgs"], found["role"]) == ("bob@example.org", ["helpdesk"], "read")


def test_main_is_the_published_version_and_a_tag_is_its_version(looked):
    found, _said, hub = looked
    assert found["sha"] == found["snapshot"] == found["v1"] == hub.commits["sorter"]
    assert found["branches"] == {"main": hub.commits["sorter"], "challenger": hub.commits["sorter v2"]}
    assert found["tags"] == {"v1": hub.commits["sorter"], "v2": hub.commits["sorter v2"]}
    assert found["gated"] is False
    assert found["commits"] == [["Version 1", hub.commits["sorter"]]]
    assert found["data"] == hub.commits["requests"]


def test_only_what_the_person_may_see_or_use_is_listed(looked):
    found, _said, _hub = looked
    assert {"helpdesk/sorter", "helpdesk/ours", "base/tiny-llama"} <= set(found["models"])
    assert not any(name.startswith("finance/") for name in [*found["models"], *found["datasets"]])
    assert found["one"] == ["helpdesk/sorter"]
    assert found["bases"] == ["base/tiny-bert", "base/tiny-llama", "base/waiting-bert"]
    assert found["datasets"] == ["helpdesk/requests"]
    assert found["exists"] == [True, False, True, False]
    assert found["checked"] is True


def test_trees_and_paths_say_what_is_a_file_and_what_a_folder(looked):
    found, _said, _hub = looked
    assert ["RepoFolder", "onnx"] in found["tree"]
    assert ["RepoFile", "onnx/model.onnx"] in found["tree"]
    assert sorted(found["paths"]) == [["RepoFile", "config.json"], ["RepoFolder", "onnx"]]
    assert found["sizes"]["onnx/model.onnx"] == 12_000_000
    assert set(found["lfs"]) == {"model.safetensors", "onnx/model.onnx", "onnx/elsewhere.onnx"}
    assert found["files"] == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_newer_clients_print_for_whom_it_is_approved(looked):
    found, said, _hub = looked
    if not found["version"].startswith("0."):
        assert "helpdesk/sorter v1 is approved for internal use only, by everyone in the organisation." in said


FILESYSTEM = """
import json
from huggingface_hub import HfApi, HfFileSystem
fs, api = HfFileSystem(), HfApi()
with fs.open("helpdesk/sorter@v1/onnx/model.onnx", "rb") as file:
    file.seek(11_999_990)
    tail = file.read()
meta = api.get_safetensors_metadata("helpdesk/sorter")
print(json.dumps({
    "ls": sorted(fs.ls("helpdesk/sorter", detail=False)), "glob": sorted(fs.glob("helpdesk/sorter/**/*.onnx")),
    "data": sorted(fs.glob("datasets/helpdesk/requests/data/*.parquet")),
    "tail": tail.hex(), "read": fs.read_text("helpdesk/sorter/README.md").splitlines()[-1],
    "tensors": len(next(iter(meta.files_metadata.values())).tensors),
}))
"""


def test_a_file_system_lists_and_reads_ranges(hub, at_home):
    found, _said = at_home("bob").run(FILESYSTEM)
    assert "helpdesk/sorter/onnx" in found["ls"]
    assert found["glob"] == ["helpdesk/sorter/onnx/elsewhere.onnx", "helpdesk/sorter/onnx/model.onnx"]
    assert len(found["data"]) == 3
    whole = hub.ask("bob", "GET", "/helpdesk/sorter/resolve/v1/onnx/model.onnx").content
    assert found["tail"] == whole[-10:].hex()
    assert found["read"] == "# sorter 1"
    assert found["tensors"] > 10


def test_lists_and_trees_come_in_pages(hub):
    seen, path = [], "/api/models?limit=2"
    while path:
        answer = hub.ask("bob", "GET", path)
        seen += [one["id"] for one in answer.json()]
        link = answer.links.get("next", {}).get("url", "")
        path = link.removeprefix(hub.url)
    assert len(seen) == len(set(seen)) > 6
    assert seen[-1] == "base/waiting-bert"
    assert hub.ask("bob", "GET", "/api/models?cursor=%ff").status_code == 400


def test_the_command_line_downloads_and_says_who_one_is(hub, at_home):
    import json
    import subprocess

    person = at_home("eve")
    command = [sys.executable, "-m", "huggingface_hub.cli.hf"]
    for arguments, expected in (
        (["auth", "whoami"], "eve@example.org"),
        (["download", "helpdesk/sorter", "config.json", "--local-dir", "here"], "here"),
    ):
        done = subprocess.run(
            [*command, *arguments], env=person.environment, cwd=person.home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert json.loads((person.home / "here" / "config.json").read_text())["model_type"] == "bert"
