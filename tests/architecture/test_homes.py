"""Each heavy or dangerous library has one home, and pages never load a model library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture import source

# Library: where it may be imported, and why only there.
HOMES: dict[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(
        ("torch", "transformers", "peft", "trl", "sklearn", "accelerate", "sentence_transformers", "safetensors"),
        (
            ("training/engine/", "benchmarks/"),
            "models are loaded in the engine process only; send it a RunSpec, or ask it through its socket",
        ),
    ),
    "guardian": (
        ("governance/services/access.py", "governance/models/"),
        "rights are asked of governance.services.access, so that there is one answer",
    ),
    "celery": (
        (
            "portal/celery.py",
            "portal/__init__.py",
            "training/queue.py",
            "projects/queue.py",
            "governance/queue.py",
            "training/tasks.py",
            "projects/tasks.py",
            "governance/tasks.py",
        ),
        "a message is a doorbell: queue.py rings it, tasks.py answers it, and nothing else knows Celery",
    ),
    "kombu": (("portal/celery.py", "training/queue.py", "projects/queue.py"), "queue.py alone speaks to the broker"),
    "cryptography": (
        (
            "governance/proofs/",
            "governance/services/ledger/",
            "governance/anchors/rfc3161.py",
            "portal/accounts/factors.py",
            "portal/gateway/bodies.py",
        ),
        "signatures belong to the ledger, whose key is not read anywhere else, the secrets of second factors to the door, and "
        "what was said in calls to the gateway",
    ),
    "rfc3161_client": (("governance/anchors/rfc3161.py",), "time stamps are one kind of anchor"),
}


@pytest.mark.parametrize("path", source.modules(), ids=source.name)
def test_a_library_stays_in_its_home(path):
    for line, module in source.imported(path):
        homes, reason = HOMES.get(module.split(".")[0], ((source.name(path),), ""))
        assert source.name(path).startswith(homes), (
            f"{source.name(path)}:{line} imports {module}, whose home is {' or '.join(homes)}: {reason}."
        )


@pytest.mark.parametrize("path", source.modules("training/engine"), ids=source.name)
def test_the_engine_knows_nothing_of_the_site(path):
    for line, module in source.imported(path):
        assert module.split(".")[0] not in {"django", "celery", "rest_framework", "portal", "projects", "governance"}, (
            f"{source.name(path)}:{line} imports {module}. The engine runs from a shell with a RunSpec and a folder; put what "
            "it needs into training/engine/spec.py and let training/supervisor.py translate."
        )
        assert not module.startswith("training.") or module.startswith("training.engine"), (
            f"{source.name(path)}:{line} imports {module}: the engine imports nothing of training but itself."
        )


def loaded_by(code: str) -> set[str]:
    """The model libraries in sys.modules after `code` ran in a fresh Python."""
    ask = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}} & {{'torch', 'transformers', 'sklearn'}})"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=source.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_site_starts_without_loading_a_model_library():
    assert loaded_by("import django; django.setup(); import portal.urls") == set()


def test_the_run_specification_is_read_without_loading_a_model_library():
    assert loaded_by("import training.engine.spec, training.engine.recipes") == set()
