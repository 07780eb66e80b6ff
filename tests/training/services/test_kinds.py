"""Each kind of training, its whole path: data, dry run, engine, evaluation, card, review, publication, pages, API."""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from governance.policy import Gate
from governance.services import approvals
from projects.models import DatasetVersion
from projects.services import datasets, repositories
from tests.factories import make_approved_use_case, make_dataset
from tests.training.factories import FILLERS, WORDS, clear, make_base_model
from tests.training.services.test_registry import USE, publish
from tests.training.tiny import make_tiny_llama
from training.engine.events import EventStream
from training.engine.files import sha256_of
from training.engine.run import execute
from training.engine.spec import Placement, RunSpec
from training.engine.stopping import StopSignal
from training.models import BaseModel, ModelVersion
from training.services import base_models, evaluations, jobs, registry

pytestmark = [
    pytest.mark.django_db,
    # The engine runs in this process here, whose warnings go to the log of a worker otherwise.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@dataclass(frozen=True)
class Kind:
    """One kind of training with data that it can learn from."""

    recipe: str
    layout: str
    columns: dict[str, str]
    metric: str
    rivals: list[str]
    settings: dict[str, object]
    writes: bool = False


KINDS = [
    Kind(
        "causal_lm",
        "prompts",
        {"prompt": "question", "completion": "answer"},
        "rouge_l",
        ["frequent_answer", "nearest_answer", "untuned"],
        {"epochs": 1, "answer_tokens": 4, "max_length": 64},
        writes=True,
    ),
    Kind(
        "regression",
        "numbers",
        {"text": "question", "number": "urgency"},
        "mae",
        ["frozen_ridge", "median_number", "tfidf_ridge"],
        {"epochs": 4, "head_start": "random", "learning_rate": 3e-3, "precision": "fp32"},
    ),
    Kind(
        "multi_label_classification",
        "tag_sets",
        {"text": "question", "labels": "topics"},
        "micro_f1",
        ["frequent_labels", "frozen_labels", "tfidf_labels"],
        {"epochs": 3, "batch_size": 8, "precision": "fp32"},
    ),
]


def rows(count: int) -> list[dict[str, object]]:
    """Return questions with an answer, a number and topics, all of which hang on their words; none comes twice."""
    rng = random.Random(3)
    found: dict[str, dict[str, object]] = {}
    while len(found) < count:
        topics = sorted(rng.sample(sorted(WORDS), rng.randint(1, 2)))
        words = rng.choices(FILLERS, k=4) + [rng.choice(WORDS[topic]) for topic in topics]
        rng.shuffle(words)
        text = " ".join(words)
        found.setdefault(
            text,
            {
                "question": text,
                "answer": f"ask {topics[0]}",
                "urgency": len(topics) * 10 + words.count("today"),
                "topics": topics,
            },
        )
    return list(found.values())


def imported(kind: Kind, actor, team) -> DatasetVersion:
    file = ContentFile("\n".join(map(json.dumps, rows(120))).encode(), name="rows.jsonl")
    options = {"layout": kind.layout, "columns": kind.columns}
    lines = [{name: value for name, value in row.items() if name in kind.columns.values()} for row in rows(120)]
    file = ContentFile("\n".join(map(json.dumps, lines)).encode(), name="rows.jsonl")
    version = datasets.receive(actor=actor, dataset=make_dataset(actor=actor, team=team), file=file, options=options)
    version = datasets.run_import(version.pk)
    assert version.state == "profiled", (version.refusal, version.errors)
    return version


def llama(*, actor, reviewer, folder: Path) -> BaseModel:
    texts = [f"{row['question']} {row['answer']}" for row in rows(120)]
    model = base_models.import_folder(
        actor=actor,
        folder=make_tiny_llama(folder, texts),
        name="tiny-llama",
        title="Tiny Llama",
        licence="Apache-2.0",
        origin="Random weights written for this test.",
        task="text generation",
    )
    return base_models.allow(actor=reviewer, base_model=model, reason="It is random and harmless.")


def trained(job, worker, folder: Path) -> ModelVersion:
    """Do what a worker does, in this process: run the engine on the job's files and register what it leaves."""
    held = jobs.claim(actor=worker, job_id=job.pk, owner="test")
    for name, commit in (("base", job.base_model.commit), ("data", job.dataset_version.commit)):
        for file in commit.files.all():
            path = folder / name / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(repositories.read_blob(file.blob))
    place = Placement(str(folder / "base"), str(folder / "data"), str(folder / "run"), token=1, threads=1)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        execute(RunSpec.from_json(job.spec), place, EventStream(silent), StopSignal())
    finally:
        os.close(silent)
    made = {f"artifacts/{p.name}": sha256_of(p) for p in (folder / "run" / "artifacts").iterdir()}
    return jobs.finish(actor=worker, claim=held, folder=folder / "run", artifacts=made, summary={"steps": 1})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.recipe)
def test_a_kind_of_training_goes_from_data_to_a_published_version(
    kind, client, alice, bob, carol, dan, frank, system, team, tmp_path
):
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = imported(kind, bob, team)
    clear(actor=bob, reviewer=carol, version=version, use_case=use_case)
    if kind.writes:
        base = llama(actor=frank, reviewer=carol, folder=tmp_path / "tiny")
    else:
        base = make_base_model(actor=frank, reviewer=carol, folder=tmp_path / "tiny")
    described = {
        "use_case": use_case.pk,
        "dataset_version": version.pk,
        "base_model": base.pk,
        "model_name": "helper",
        "recipe": kind.recipe,
        "method": "lora",
        "preset": "quick",
        "overrides": kind.settings,
        "seed": 1,
    }
    client.force_login(bob)

    # The dry run and the submission, by API.
    plan = client.post("/api/v1/jobs/dry-run/", described, content_type="application/json").json()
    assert plan["ready"], plan
    assert plan["baselines"] == kind.rivals
    assert plan["truncation"]["measured"] == version.split_rows["train"]
    assert plan["steps"] > 0
    assert plan["memory_bytes"]["low"] < plan["memory_bytes"]["likely"] < plan["memory_bytes"]["high"]
    if kind.writes:
        learned = "".join(text for text, yes in plan["preview"][0]["tokens"] if yes)
        assert learned.startswith("ask ")
        assert learned.endswith("<|im_end|>\n")
    else:
        assert plan["preview"] == []
    answer = client.post("/api/v1/jobs/", described, content_type="application/json")
    assert answer.status_code == 201, answer.json()
    job = use_case.jobs.get()
    assert "preview" not in job.dry_run

    # The form knows the kind and offers its settings.
    form = client.get(reverse("training:job_new"), {"use_case": use_case.pk, "dataset_version": version.pk})
    assert form.context["form"].declared.name == kind.recipe

    # The run, and what is on record of it.
    made = trained(job, system, tmp_path / "work")
    evaluation = made.job.evaluation
    assert (evaluation.metric, made.model.task) == (kind.metric, json.loads(_text(made, "serving.json"))["task"])
    assert [one["name"] for one in evaluation.report["candidates"]] == ["tuned", *kind.rivals]
    assert evaluation.accuracy is None
    card = registry.card(made)
    assert evaluation.figures[0].title in card
    for rival in kind.rivals:
        assert f"Against {cards_title(rival)}" in card

    # The review binds to the figures of this kind, and the version is published.
    asked = registry.request_publication(actor=bob, version=made, intended_use=USE)
    material = asked.subject.approval_material(Gate.MODEL_PUBLICATION)
    for figure in evaluation.figures:
        assert material[figure.title] == f"{figure.value:.4f}"
    assert "Accuracy" not in material
    client.force_login(carol)
    review = client.get(reverse("governance:review", args=[asked.pk]))
    assert evaluation.figures[0].title in review.content.decode()
    approvals.withdraw(actor=bob, request=asked)
    publish(made, bob, carol)

    # Pages and API show the kind's own figures.
    client.force_login(bob)
    pages = [
        made.get_absolute_url(),
        made.model.get_absolute_url(),
        job.get_absolute_url(),
        reverse("training:jobs"),
        f"{reverse('training:compare')}?job={job.pk}",
    ]
    for page in pages:
        shown = client.get(page)
        assert shown.status_code == 200, page
        assert evaluation.figures[0].title in shown.content.decode(), page
    told = client.get(f"/api/v1/jobs/{job.pk}/evaluation/").json()
    assert (told["metric"], told["score"]) == (kind.metric, evaluation.score)

    # Compared with itself under another name there is no difference; single answers are for who may see the data.
    again = evaluations.compare(user=bob, evaluations=[evaluation])
    assert [one.key for one in again.candidates] == [f"{job.pk}:{name}" for name in ("tuned", *kind.rivals)]
    assert all(one.against is not None for one in again.candidates[1:])
    if kind.writes:
        assert [title for title, _said in again.written[0].answers] == ["Tuned model", "Untuned base model"]
        assert again.written[0].wanted.startswith("ask ")


def _text(version: ModelVersion, path: str) -> str:
    return repositories.read_blob(repositories.file_of(version.commit, path).blob).decode()


def cards_title(rival: str) -> str:
    from training.services import cards

    return cards.title_of(rival).lower()


def test_a_kind_that_does_not_fit_the_rows_is_refused_beside_the_field(ground, bob):
    plan = jobs.plan(actor=bob, **ground.described(recipe="regression", overrides={}, baselines=None))
    assert "“Text and a number”" in plan.errors["dataset_version"]
    plan = jobs.plan(actor=bob, **ground.described(recipe="causal_lm", overrides={}, baselines=None))
    assert set(plan.errors) == {"dataset_version", "base_model"}
    plan = jobs.plan(actor=bob, **ground.described(baselines=["untuned"]))
    assert "baselines" in plan.errors
