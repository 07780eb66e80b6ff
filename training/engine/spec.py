"""The whole contract between the engine and whoever starts it: what to run, where it lies, and what is reported back.

Standard library only. The engine reads ONE JSON object from standard input::

    {"spec": RunSpec.to_json(), "placement": Placement.to_json()}

``RunSpec`` is what gets frozen, approved and digested: it names content by hash and never by a local path.
``Placement`` says where that content lies on this machine, which folder is the run's own, and which fencing token
the owner of the job holds; it changes with every attempt and is part of no digest.

The engine answers with events, one JSON object per line on standard output, each with ``type`` and ``at`` (UTC, ISO
8601) beside these fields:

``stage``       ``name`` (one of ``STAGES``), ``message`` (a sentence for people): a new phase of the run has begun.
``progress``    ``step``, ``max_steps`` (optimiser steps), ``epoch`` (float), ``eta_s`` (seconds left of training, or
                null while unknown), ``useful_tokens`` (without padding, since the start of the run, also across
                resumes), ``useful_tokens_per_s`` (of this process).
``metrics``     ``step``, ``values``: name to number. Training: ``loss``, ``learning_rate``, ``grad_norm``. Validation:
                ``validation_loss``, and the figures of the recipe, such as ``validation_accuracy``.
``log``         ``level`` (``info`` or ``warning``), ``message``.
``checkpoint``  ``step``, ``path`` (of the folder, relative to the run folder), ``manifest`` (sha256 of manifest.json).
``baseline``    ``name``, ``done`` (false when it starts, true when it has finished).
``evaluation``  ``path`` (of evaluation.json, relative to the run folder).
``artifact``    ``path`` (relative to the run folder), ``sha256``, ``size`` (bytes): one finished file.
``error``       ``code`` (one of ``ERROR_CODES``), ``message`` (what is wrong and where), ``advice`` (what to do),
                ``retryable`` (true when the same spec may succeed on another attempt or another machine).
``done``        ``summary``: the figures of the tuned model, steps, seconds and the like, ready to show.

The last event of a run is ``done`` (exit code 0) or ``error`` (exit code 1; 2 when the input itself is unusable),
or a ``checkpoint`` followed by a ``log`` when the run was asked to stop (exit code 75).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

VERSION = 1
METHODS = ("full", "lora", "dora", "rslora")
ADAPTERS = ("lora", "dora", "rslora")
"""The methods that train a small addition to frozen weights; all are kinds of LoRA (Hu et al., 2022)."""
CLASSES = "classes"
"""The layout of rows that are a text and one class; the only one of the first specifications."""
DEVICES = ("auto", "cpu", "cuda")
SPLITS = ("train", "validation", "test")
STAGES = ("verify", "prepare", "train", "baselines", "evaluate", "export")
ERROR_CODES = (
    "bad_spec",
    "unsafe_model",
    "hash_mismatch",
    "unreadable_data",
    "unknown_label",
    "too_little_data",
    "nan_loss",
    "out_of_memory",
    "disk_full",
    "no_device",
    "internal",
)
EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_SPEC = 2
EXIT_STOPPED = 75

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEX40 = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class SpecError(ValueError):
    """The input is not a valid specification; the message is a sentence that names the field."""


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"{where} must be a JSON object, not {type(value).__name__}.")
    return value


def _keys(value: Mapping[str, Any], where: str, required: set[str], optional: frozenset[str] = frozenset()) -> None:
    missing = sorted(required - set(value))
    if missing:
        raise SpecError(f"{where} lacks the field {missing[0]!r}.")
    unknown = sorted(set(value) - required - optional)
    if unknown:
        raise SpecError(f"{where} has the unknown field {unknown[0]!r}; remove it or check its spelling.")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"{where} must be text that is not empty.")
    return value


def _integer(value: Any, where: str, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"{where} must be a whole number, not {value!r}.")
    if value < minimum:
        raise SpecError(f"{where} must be at least {minimum}, not {value}.")
    return value


def _choice(value: Any, where: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SpecError(f"{where} must be one of {', '.join(allowed)}, not {value!r}.")
    return str(value)


def _matching(value: Any, where: str, pattern: re.Pattern[str], meaning: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise SpecError(f"{where} must be {meaning}, not {value!r}.")
    return value


def check_relative_path(value: Any, where: str) -> str:
    """Return ``value`` when it is a plain relative path with forward slashes; raise ``SpecError`` otherwise."""
    text = _text(value, where)
    if text.startswith("/") or "\\" in text or "\0" in text or any(p in ("", ".", "..") for p in text.split("/")):
        raise SpecError(f"{where} must be a relative path inside its folder, not {value!r}.")
    return text


@dataclass(frozen=True)
class BaseModelSource:
    """One revision of one base model: ``files`` maps each relative path to its sha256."""

    name: str
    revision: str
    files: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold."""
        return {"name": self.name, "revision": self.revision, "files": dict(sorted(self.files.items()))}

    @classmethod
    def from_json(cls, value: Any, where: str = "base_model") -> "BaseModelSource":
        """Validate ``value``; raises ``SpecError``."""
        value = _mapping(value, where)
        _keys(value, where, {"name", "revision", "files"})
        files = _mapping(value["files"], f"{where}.files")
        if not files:
            raise SpecError(f"{where}.files must list at least one file.")
        return cls(
            name=_text(value["name"], f"{where}.name"),
            revision=_matching(value["revision"], f"{where}.revision", _HEX40, "40 lowercase hexadecimal digits"),
            files={
                check_relative_path(path, f"A path in {where}.files"): _matching(
                    sha, f"{where}.files[{path!r}]", _SHA256, "a sha256 in lowercase hexadecimal"
                )
                for path, sha in files.items()
            },
        )


@dataclass(frozen=True)
class SplitFile:
    """One split of a dataset: a CSV, JSONL or Parquet file (by its suffix), its sha256 and its number of rows."""

    path: str
    sha256: str
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold."""
        return {"path": self.path, "sha256": self.sha256, "rows": self.rows}

    @classmethod
    def from_json(cls, value: Any, where: str) -> "SplitFile":
        """Validate ``value``; raises ``SpecError``."""
        value = _mapping(value, where)
        _keys(value, where, {"path", "sha256", "rows"})
        path = check_relative_path(value["path"], f"{where}.path")
        if not path.endswith((".csv", ".jsonl", ".parquet")):
            raise SpecError(f"{where}.path must end in .csv, .jsonl or .parquet, not {path!r}.")
        return cls(
            path=path,
            sha256=_matching(value["sha256"], f"{where}.sha256", _SHA256, "a sha256 in lowercase hexadecimal"),
            rows=_integer(value["rows"], f"{where}.rows", 1),
        )


@dataclass(frozen=True)
class DatasetSource:
    """One commit of a dataset: its files, what a row is made of (``layout``) and which column holds what (``columns``).

    ``labels`` are the sorted class names, and a row with any other is an error; rows that are no text and class have
    none, or the tags that may occur. ``columns`` maps roles to columns; with the layout ``classes`` they stand in
    ``text_column`` and ``label_column`` instead, and neither field is written, so that the digests of the first
    specifications stay what they were. ``files`` needs the splits train and test. Without a validation split, a tenth
    of the training rows (of each class, where there are classes) is held out with the run's seed.
    """

    name: str
    commit: str
    files: Mapping[str, SplitFile]
    labels: tuple[str, ...]
    text_column: str = "text"
    label_column: str = "label"
    layout: str = CLASSES
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, str]:
        """Return the columns by role, whatever the layout."""
        if self.layout == CLASSES:
            return {"text": self.text_column, "label": self.label_column}
        return dict(self.columns)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold."""
        columns: dict[str, Any] = {"text_column": self.text_column, "label_column": self.label_column}
        if self.layout != CLASSES:
            columns = {"layout": self.layout, "columns": dict(sorted(self.columns.items()))}
        return {
            "name": self.name,
            "commit": self.commit,
            "files": {split: file.to_json() for split, file in sorted(self.files.items())},
            **columns,
            "labels": list(self.labels),
        }

    @classmethod
    def from_json(cls, value: Any, where: str = "dataset") -> "DatasetSource":
        """Validate ``value``; raises ``SpecError``."""
        value = _mapping(value, where)
        layout = _matching(value.get("layout", CLASSES), f"{where}.layout", _NAME, "the name of a layout")
        named = {"text_column", "label_column", "layout"} if layout == CLASSES else {"layout", "columns"}
        _keys(value, where, {"name", "commit", "files", "labels"}, frozenset(named))
        files = _mapping(value["files"], f"{where}.files")
        for split in ("train", "test"):
            if split not in files:
                raise SpecError(f"{where}.files lacks the split {split!r}; training needs the splits train and test.")
        for split in files:
            _choice(split, f"A split in {where}.files", SPLITS)
        labels = value["labels"]
        if not isinstance(labels, list | tuple) or not all(isinstance(x, str) and x for x in labels):
            raise SpecError(f"{where}.labels must be a list of names that are not empty.")
        if layout == CLASSES and len(set(labels)) < 2:
            raise SpecError(f"{where}.labels must hold at least two different names.")
        columns = _mapping(value.get("columns", {}), f"{where}.columns")
        if layout != CLASSES and not columns:
            raise SpecError(f"{where}.columns must say which column holds what.")
        if list(labels) != sorted(set(labels)):
            raise SpecError(f"{where}.labels must be sorted and without repetition.")
        return cls(
            name=_text(value["name"], f"{where}.name"),
            commit=_matching(value["commit"], f"{where}.commit", _HEX40, "40 lowercase hexadecimal digits"),
            files={split: SplitFile.from_json(file, f"{where}.files.{split}") for split, file in files.items()},
            labels=tuple(labels),
            text_column=_text(value.get("text_column", "text"), f"{where}.text_column"),
            label_column=_text(value.get("label_column", "label"), f"{where}.label_column"),
            layout=layout,
            columns={
                _matching(role, f"A role in {where}.columns", _NAME, "the name of a role"): _text(
                    column, f"{where}.columns.{role}"
                )
                for role, column in columns.items()
            },
        )


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides what a run produces: this is what a person approves and what the digest covers."""

    recipe: str
    method: str
    base_model: BaseModelSource
    dataset: DatasetSource
    hyperparameters: Mapping[str, Any]
    seed: int
    baselines: tuple[str, ...] = ("majority", "tfidf_linear", "frozen_embeddings")
    device: str = "auto"
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold, equal for equal specifications."""
        return {
            "version": self.version,
            "recipe": self.recipe,
            "method": self.method,
            "base_model": self.base_model.to_json(),
            "dataset": self.dataset.to_json(),
            "hyperparameters": dict(sorted(self.hyperparameters.items())),
            "seed": self.seed,
            "baselines": list(self.baselines),
            "device": self.device,
        }

    @classmethod
    def from_json(cls, value: Any) -> "RunSpec":
        """Validate shape and types; raises ``SpecError``. Bounds of hyperparameters are the recipe's to check."""
        value = _mapping(value, "spec")
        names = {"version", "recipe", "method", "base_model", "dataset", "hyperparameters", "seed"}
        _keys(value, "spec", names, frozenset({"baselines", "device"}))
        if value["version"] != VERSION:
            raise SpecError(f"version must be {VERSION}, not {value['version']!r}; this engine reads no other.")
        hyperparameters = _mapping(value["hyperparameters"], "hyperparameters")
        for name, setting in hyperparameters.items():
            if not isinstance(setting, bool | int | float | str):
                raise SpecError(f"hyperparameters.{name} must be a number, text or a truth value.")
        baselines = value.get("baselines", [])
        if not isinstance(baselines, list | tuple):
            raise SpecError("baselines must be a list of names.")
        for name in baselines:
            _matching(name, "A name in baselines", _NAME, "the name of a baseline")
        if len(set(baselines)) != len(baselines):
            raise SpecError("baselines must name each baseline once.")
        return cls(
            version=VERSION,
            recipe=_matching(value["recipe"], "recipe", _NAME, "the name of a recipe"),
            method=_choice(value["method"], "method", METHODS),
            base_model=BaseModelSource.from_json(value["base_model"]),
            dataset=DatasetSource.from_json(value["dataset"]),
            hyperparameters=dict(hyperparameters),
            seed=_integer(value["seed"], "seed", 0),
            baselines=tuple(baselines),
            device=_choice(value.get("device", "auto"), "device", DEVICES),
        )

    def digest(self) -> str:
        """Return the sha256, in hexadecimal, of the canonical JSON text (sorted keys, no spaces, UTF-8)."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Placement:
    """Where things lie on this machine, and under which fencing token the run owns its folder.

    ``base_model``, ``dataset`` and ``run`` are folders; only ``run`` is written to. A checkpoint to continue from is
    found by looking in ``run``. ``threads`` 0 lets the engine choose.
    """

    base_model: str
    dataset: str
    run: str
    token: int = 1
    threads: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold."""
        return {
            "base_model": self.base_model,
            "dataset": self.dataset,
            "run": self.run,
            "token": self.token,
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Placement":
        """Validate shape and types, not whether the folders exist; raises ``SpecError``."""
        value = _mapping(value, "placement")
        _keys(value, "placement", {"base_model", "dataset", "run"}, frozenset({"token", "threads"}))
        return cls(
            base_model=_text(value["base_model"], "placement.base_model"),
            dataset=_text(value["dataset"], "placement.dataset"),
            run=_text(value["run"], "placement.run"),
            token=_integer(value.get("token", 1), "placement.token", 0),
            threads=_integer(value.get("threads", 0), "placement.threads", 0),
        )


_NUMBER = (int, float)
EVENT_FIELDS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "stage": {"name": (str,), "message": (str,)},
    "progress": {
        "step": (int,),
        "max_steps": (int,),
        "epoch": _NUMBER,
        "eta_s": (int, float, type(None)),
        "useful_tokens": (int,),
        "useful_tokens_per_s": _NUMBER,
    },
    "metrics": {"step": (int,), "values": (dict,)},
    "log": {"level": (str,), "message": (str,)},
    "checkpoint": {"step": (int,), "path": (str,), "manifest": (str,)},
    "baseline": {"name": (str,), "done": (bool,)},
    "evaluation": {"path": (str,)},
    "artifact": {"path": (str,), "sha256": (str,), "size": (int,)},
    "error": {"code": (str,), "message": (str,), "advice": (str,), "retryable": (bool,)},
    "done": {"summary": (dict,)},
}


@dataclass(frozen=True)
class Event:
    """One line of the engine's answer; ``data`` holds the fields that ``EVENT_FIELDS`` lists for ``type``."""

    type: str
    data: Mapping[str, Any]
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    def to_json(self) -> dict[str, Any]:
        """Return the flat dictionary that is written as one line."""
        return {"type": self.type, "at": self.at, **self.data}

    def to_line(self) -> str:
        """Return the event as one line of JSON that ends in a newline."""
        return json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, value: Any) -> "Event":
        """Validate a dictionary, or one line of text; raises ``SpecError``."""
        if isinstance(value, str | bytes):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise SpecError(f"An event must be one line of JSON: {error}.") from error
        value = _mapping(value, "event")
        kind = value.get("type")
        if kind not in EVENT_FIELDS:
            raise SpecError(f"event.type must be one of {', '.join(EVENT_FIELDS)}, not {kind!r}.")
        at = _text(value.get("at"), "event.at")
        expected = EVENT_FIELDS[kind]
        _keys(value, f"event {kind}", {"type", "at", *expected})
        for name, types in expected.items():
            given = value[name]
            if not isinstance(given, types) or (isinstance(given, bool) and bool not in types):
                raise SpecError(f"event.{name} of type {kind} has the wrong type {type(given).__name__}.")
        return cls(type=kind, at=at, data={name: value[name] for name in expected})


def write_request(spec: RunSpec, placement: Placement) -> str:
    """Return the JSON text that the engine expects on standard input."""
    return json.dumps({"spec": spec.to_json(), "placement": placement.to_json()}, ensure_ascii=False, allow_nan=False)


def read_request(text: str) -> tuple[RunSpec, Placement]:
    """Parse what ``write_request`` wrote; raises ``SpecError`` with a sentence that names the field."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SpecError(f"The input must be one JSON object with spec and placement: {error}.") from error
    value = _mapping(value, "The input")
    _keys(value, "The input", {"spec", "placement"})
    return RunSpec.from_json(value["spec"]), Placement.from_json(value["placement"])
