"""The contract: what is accepted, what is refused, and with which sentence."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.training.engine.conftest import ROOT, World
from training.engine.spec import Event, Placement, RunSpec, SpecError, read_request, write_request


def test_a_request_survives_the_way_through_json(world: World, place: Placement) -> None:
    assert read_request(write_request(world.spec, place)) == (world.spec, place)


def test_the_digest_covers_the_seed_and_not_the_placement(world: World) -> None:
    same = RunSpec.from_json(json.loads(json.dumps(world.spec.to_json())))
    assert same.digest() == world.spec.digest()
    assert replace(world.spec, seed=8).digest() != world.spec.digest()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": 2}, "version"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"method": "qlora"}, "method"),
        ({"recipe": "../x"}, "recipe"),
        ({"device": "tpu"}, "device"),
        ({"baselines": ["majority", "majority"]}, "baselines"),
        ({"hyperparameters": {"epochs": [1]}}, "hyperparameters.epochs"),
        ({"surprise": 1}, "surprise"),
        ({"base_model": {"name": "x", "revision": "main", "files": {"a": "0" * 64}}}, "base_model.revision"),
        ({"base_model": {"name": "x", "revision": "a" * 40, "files": {"../a": "0" * 64}}}, "base_model.files"),
        ({"base_model": {"name": "x", "revision": "a" * 40, "files": {"a": "0"}}}, "base_model.files"),
        ({"base_model": {"name": "x", "revision": "a" * 40, "files": {}}}, "base_model.files"),
    ],
)
def test_a_wrong_specification_is_refused_naming_the_field(world: World, change: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as refusal:
        RunSpec.from_json({**world.spec.to_json(), **change})
    assert field in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"labels": ["b", "a"]}, "labels"),
        ({"labels": ["a"]}, "labels"),
        ({"commit": "A" * 40}, "commit"),
        ({"files": {}}, "train"),
        ({"text_column": ""}, "text_column"),
    ],
)
def test_a_wrong_dataset_is_refused_naming_the_field(world: World, change: dict[str, Any], field: str) -> None:
    value = world.spec.to_json()
    value["dataset"].update(change)
    with pytest.raises(SpecError) as refusal:
        RunSpec.from_json(value)
    assert field in str(refusal.value)


def test_an_event_with_missing_or_wrong_fields_is_refused() -> None:
    line = Event("checkpoint", {"step": 3, "path": "checkpoints/token-1/step-3", "manifest": "0" * 64}).to_line()
    assert Event.from_json(line).data["step"] == 3
    for wrong in (line.replace("3,", "true,", 1), line.replace('"step"', '"stop"'), "not json", '{"type": "party"}'):
        with pytest.raises(SpecError):
            Event.from_json(wrong)


def test_the_contract_and_all_declarations_load_without_torch() -> None:
    program = (
        "import sys\n"
        "from training.engine import baselines, hyperparameters, recipes, spec\n"
        "[recipes.get(name) for name in recipes.names()]\n"
        "[baselines.get(name) for name in baselines.names()]\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'numpy', 'django'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
