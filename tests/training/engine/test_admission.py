"""What may be loaded and what may not."""

import json
import shutil
from pathlib import Path

import pytest

from tests.training.engine.conftest import sha256
from training.engine.admission import admit_base_model
from training.engine.failures import EngineError


@pytest.fixture
def model(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "model"))


def listed(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_plain_model_is_admitted_with_its_architecture(model: Path) -> None:
    assert admit_base_model(model, listed(model)) == "bert"


@pytest.mark.parametrize("name", ["modeling.py", "pytorch_model.bin", "model.pkl", "weights.pt", "a/b.so", "data.ckpt"])
def test_files_that_may_run_code_are_refused(model: Path, name: str) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(b"x")
    with pytest.raises(EngineError) as refusal:
        admit_base_model(model, listed(model))
    assert refusal.value.code == "unsafe_model"
    assert name in refusal.value.message


def test_remote_code_is_refused_wherever_the_auto_map_hides(model: Path) -> None:
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps({"inner": [{"auto_map": {"AutoTokenizer": "x.Y"}}]}))
    with pytest.raises(EngineError, match="auto_map"):
        admit_base_model(model, listed(model))


def test_an_architecture_that_is_not_listed_is_refused(model: Path) -> None:
    change_config(model, model_type="mystery")
    with pytest.raises(EngineError, match="mystery"):
        admit_base_model(model, listed(model))


def test_a_changed_or_missing_file_is_refused(model: Path) -> None:
    files = listed(model)
    change_config(model, hidden_dropout_prob=0.5)
    with pytest.raises(EngineError) as refusal:
        admit_base_model(model, files)
    assert refusal.value.code == "hash_mismatch"
    (model / "config.json").unlink()
    with pytest.raises(EngineError, match="missing"):
        admit_base_model(model, files)


def test_weights_are_required_in_safetensors_format(model: Path) -> None:
    (model / "model.safetensors").unlink()
    with pytest.raises(EngineError, match="safetensors"):
        admit_base_model(model, listed(model))


def test_a_link_that_leads_out_of_the_folder_is_refused(model: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(model / "config.json", outside)
    (model / "config.json").symlink_to(outside)
    with pytest.raises(EngineError, match="missing"):
        admit_base_model(model, listed(model))
