"""The model card of a version, filled from what is on record: nothing in it is typed in by hand.

The headings follow Mitchell et al., "Model Cards for Model Reporting" (2019); the front matter is the one that clients
of the Hugging Face Hub read.
"""

from __future__ import annotations

from typing import Any

import yaml

from training.engine import baselines, measures, recipes
from training.engine.spec import ADAPTERS
from training.models import TrainingJob
from training.models.evaluations import Figure, figures_of


def write(*, job: TrainingJob, number: int, report: dict[str, Any], environment: dict[str, Any]) -> str:
    """Return README.md for version `number` that `job` made; the other arguments are two of its files."""
    recipe = recipes.get(job.recipe)
    parts = [
        _front_matter(job, recipe.task, figures_of(report, report["candidates"][0])),
        f"# {job.team.slug}/{job.model_name}, version {number}\n\n{recipe.help} "
        f"Made for the use case “{_plain(job.use_case.title)}” of the team {_plain(job.team.name)}.",
        _intended_use(job, recipe),
        _data(job),
        _procedure(job, recipe),
        _results(report),
        _limitations(job, recipe, report),
        _lineage(job, report),
        _environment(environment),
    ]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Return text from a person as one line that Markdown takes for nothing but text."""
    line = " ".join(str(text).split())
    for sign in "\\`*_[]<>|#":
        line = line.replace(sign, f"\\{sign}")
    return line


def _front_matter(job: TrainingJob, task: str, figures: list[Figure]) -> str:
    data = {
        "license": job.base_model.licence.lower(),
        "base_model": job.base_model.name,
        "base_model_relation": "adapter" if job.method in ADAPTERS else "finetune",
        "library_name": "peft" if job.method in ADAPTERS else "transformers",
        "pipeline_tag": task,
        "tags": ["gatehouse", job.recipe, job.method],
        "model-index": [
            {
                "name": job.model_name,
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {
                            "name": str(job.dataset_version.dataset),
                            "type": job.dataset_version.dataset.name,
                            "revision": job.spec["dataset"]["commit"],
                            "split": "test",
                        },
                        "metrics": [_metric(figure) for figure in figures],
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}---"


def _metric(figure: Figure) -> dict[str, Any]:
    value = round(figure.value, 4)
    if figure.name == "accuracy":
        return {"type": "accuracy", "value": value}
    if figure.name == "macro_f1":
        return {"type": "f1", "name": "macro F1", "value": value}
    return {"type": figure.name, "name": figure.title, "value": value}


def _intended_use(job: TrainingJob, recipe: Any) -> str:
    use_case = job.use_case
    lines = [
        "## Intended use",
        f"- Problem: {_plain(use_case.problem)}",
        f"- People affected: {_plain(use_case.people)}",
        f"- Expected benefit: {_plain(use_case.benefit)}",
        f"- Human oversight: {_plain(use_case.human_oversight) or 'not described'}",
        "",
        _what_it_answers(job, recipe)
        + " It may be used where a publication of this version is in force and for the use case named above; any "
        "other use needs an approval of its own.",
    ]
    return "\n".join(lines)


def _what_it_answers(job: TrainingJob, recipe: Any) -> str:
    labels = ", ".join(f"`{_code(label)}`" for label in job.spec["dataset"]["labels"])
    if recipe.measure == "classes":
        return f"The model answers with one of {len(job.spec['dataset']['labels'])} classes: {labels}."
    if labels:
        return f"The model knows {len(job.spec['dataset']['labels'])} labels: {labels}."
    return f"The model gives {measures.get(recipe.measure).title.lower()}."


def _code(text: str) -> str:
    return " ".join(str(text).replace("`", "'").split())


def _data(job: TrainingJob) -> str:
    version, dataset = job.dataset_version, job.dataset_version.dataset
    spec = job.spec["dataset"]
    rows = [f"| {split} | {file['rows']} | `{file['sha256']}` |" for split, file in spec["files"].items()]
    held = (
        ""
        if "validation" in spec["files"]
        else "\n\nThe version has no validation split: a tenth of the training rows was held out with the run's seed."
    )
    return (
        f"## Training data\n\n{_plain(dataset.title)} ({dataset}, version {version.number}), "
        f"commit `{spec['commit']}`.\n\n"
        f"- Provenance: {_plain(dataset.provenance)}\n- Licence: {_plain(dataset.licence)}\n"
        f"- Classification: {dataset.get_classification_display()}\n"
        f"- Lawful basis for personal data: {dataset.get_lawful_basis_display()}\n\n"
        "| split | rows | sha256 |\n|---|---|---|\n" + "\n".join(rows) + held
    )


def _procedure(job: TrainingJob, recipe: Any) -> str:
    known = {declared.name: declared for declared in recipe.hyperparameters}
    rows = []
    for name, value in sorted(job.spec["hyperparameters"].items()):
        declared = known.get(name)
        effect = "" if declared is None or job.method in declared.methods else " (no effect with this method)"
        rows.append(f"| {name} | {value} | {declared.help if declared else ''}{effect} |")
    summary = job.summary or {}
    facts = [
        f"{text}: {summary[key]}"
        for key, text in (
            ("steps", "optimiser steps"),
            ("best_step", "best step, which became the model"),
            ("train_seconds", "seconds of training"),
            ("useful_tokens", "tokens seen, without padding"),
            ("precision", "number format"),
            ("device", "device"),
        )
        if key in summary
    ]
    return (
        f"## Training procedure\n\nRecipe `{job.recipe}`, method `{job.method}`, preset `{job.preset or 'none'}`, "
        f"seed {job.spec['seed']}, from {_plain(job.base_model.title)} "
        f"at revision `{job.spec['base_model']['revision']}`."
        + (("\n\n" + "\n".join(f"- {fact}" for fact in facts)) if facts else "")
        + "\n\n| setting | value | what it does |\n|---|---|---|\n"
        + "\n".join(rows)
    )


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"


def _results(report: dict[str, Any]) -> str:
    return _class_results(report) if report.get("version", 1) == 1 else _other_results(report)


def _of(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"


def _other_results(report: dict[str, Any]) -> str:
    named = figures_of(report, report["candidates"][0])
    rows = []
    for candidate in report["candidates"]:
        held = {figure.name: _of(figure) for figure in figures_of(report, candidate)}
        cells = " | ".join(held.get(figure.name, "") for figure in named)
        took, size = candidate["latency_ms"]["p50"], candidate["size"]
        rows.append(f"| {title_of(candidate['name'])} | {cells} | {took:.1f} | {size:,} |")
    first = named[0]
    against = []
    for comparison in report["comparisons"]:
        verdict = "significantly better" if comparison["better"] else "not shown to be better"
        found = comparison["metrics"].get(first.name)
        said = (
            f"; difference in {first.title} {found['difference']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f}), "
            f"p {found['p']:.4g}"
            if found
            else ""
        )
        against.append(f"- Against {title_of(comparison['baseline']).lower()}: {verdict}{said}.")
    meaning = [f"- {figure.title}: {figure.help}" for figure in named]
    return (
        f"## Results\n\nOn {report['rows']} rows of the frozen test split, with "
        f"{report['confidence']:.0%} bootstrap intervals from {report['resamples']} resamples.\n\n"
        f"| candidate | {' | '.join(figure.title for figure in named)} | ms per text | bytes in memory |\n"
        f"|{'---|' * (len(named) + 3)}\n" + "\n".join(rows) + "\n\n" + "\n".join([*against, "", *meaning])
    )


def _class_results(report: dict[str, Any]) -> str:
    rows = [
        f"| {title_of(candidate['name'])} | {_interval(candidate['accuracy'])} | {_interval(candidate['macro_f1'])} | "
        f"{candidate['calibration']['ece']:.4f} | {candidate['latency_ms']['p50']:.1f} | {candidate['size']:,} |"
        for candidate in report["candidates"]
    ]
    against = []
    for comparison in report["comparisons"]:
        found = comparison["accuracy"]
        verdict = "significantly better" if comparison["better"] else "not shown to be better"
        against.append(
            f"- Against {title_of(comparison['baseline']).lower()}: {verdict}; difference in accuracy "
            f"{found['difference']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f}), "
            f"McNemar mid-p {found['p_mid']:.4g}."
        )
    classes = [
        f"| `{_code(c['label'])}` | {c['precision']:.3f} | {c['recall']:.3f} | {c['f1']:.3f} | {c['support']} |"
        for c in report["candidates"][0]["per_class"]
    ]
    return (
        f"## Results\n\nOn the {report['rows']} rows of the frozen test split, with "
        f"{report['confidence']:.0%} bootstrap intervals from {report['resamples']} resamples.\n\n"
        "| candidate | accuracy | macro F1 | calibration error | ms per text | bytes in memory |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n" + "\n".join(against) + "\n\n### By class\n\n"
        "| class | precision | recall | F1 | test rows |\n|---|---|---|---|---|\n" + "\n".join(classes)
    )


def title_of(candidate: str) -> str:
    """Return what a candidate of an evaluation is called for people."""
    if candidate == "tuned":
        return "Tuned model"
    try:
        return baselines.get(candidate).title
    except baselines.UnknownBaseline:
        return candidate.replace("_", " ").capitalize()


def _limitations(job: TrainingJob, recipe: Any, report: dict[str, Any]) -> str:
    classes = report["candidates"][0].get("per_class") or []
    weak = sorted((c for c in classes if c["support"]), key=lambda c: c["f1"])[:3]
    few = [c["label"] for c in classes if c["support"] < 10]
    lines = [
        "## Limitations",
        "- The figures hold for texts like those of the test split; they say nothing about other languages, later "
        "vocabulary or other kinds of text.",
        *(f"- {sentence}" for sentence in measures.get(recipe.measure).limits),
        f"- Texts are cut after {job.spec['hyperparameters'].get('max_length', 'the longest input of')} tokens.",
    ]
    if weak:
        lines.append("- Weakest classes: " + ", ".join(f"`{_code(c['label'])}` (F1 {c['f1']:.2f})" for c in weak) + ".")
    if few:
        lines.append(
            f"- {len(few)} of the classes have fewer than ten test rows, so their figures are rough: "
            + ", ".join(f"`{_code(label)}`" for label in few[:20])
            + "."
        )
    if not all(comparison["better"] for comparison in report["comparisons"]):
        lines.append("- It is not shown to be better than every cheap rival: consider using the rival.")
    return "\n".join(lines)


def _lineage(job: TrainingJob, report: dict[str, Any]) -> str:
    spec = job.spec
    weights = [
        f"| base model `{_code(path)}` | `{sha}` |"
        for path, sha in spec["base_model"]["files"].items()
        if path.endswith(".safetensors")
    ]
    return (
        "## Lineage\n\n| what | digest |\n|---|---|\n"
        f"| run specification | `{job.spec_digest}` |\n| dataset commit | `{spec['dataset']['commit']}` |\n"
        f"| base model revision | `{spec['base_model']['revision']}` |\n" + "\n".join(weights) + f"\n\nJob {job.pk}, "
        f"use case {job.use_case_id} at version {job.use_case.version}. The whole specification is in `spec.json`, the "
        "evaluation in `evaluation.json`, every test prediction in `predictions.parquet`."
    )


def _environment(environment: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in sorted((environment.get("packages") or {}).items()))
    hardware = ", ".join(str(part) for part in (environment.get("hardware") or {}).values() if part)
    return (
        f"## Environment\n\nPython {environment.get('python', 'unknown')}; {packages or 'packages not recorded'}. "
        f"{hardware or 'Hardware not recorded'}; {environment.get('threads', '?')} threads, "
        f"{environment.get('precision', '?')}."
    )
