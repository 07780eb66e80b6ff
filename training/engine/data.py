"""The splits of a frozen dataset: read, checked against the specification, and tokenised once."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.failures import EngineError
from training.engine.files import sha256_of
from training.engine.spec import DatasetSource, SplitFile

FEWEST_PER_CLASS = 2
FEWEST_ROWS = 4


@dataclass(frozen=True)
class Split:
    """Rows of one split: their texts, their labels, their place in the file.

    ``labels`` are indices into the sorted class names, or what else the measure reads: numbers, or a row of truth
    values for each text.
    """

    texts: list[str]
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: np.ndarray) -> "Split":
        """Return the rows at ``indices``, in that order."""
        return Split([self.texts[i] for i in indices], self.labels[indices], self.rows[indices])


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts in one array; text ``i`` is ``ids[offsets[i]:offsets[i + 1]]``.

    ``was_cut`` says of each text whether it was longer than allowed; ``pad`` is the id to fill up with.
    """

    ids: np.ndarray
    offsets: np.ndarray
    pad: int
    was_cut: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each text."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1


def _unreadable(name: str, detail: str) -> EngineError:
    return EngineError(
        "unreadable_data",
        f"The file {name} cannot be read: {detail}",
        "Correct the file and import it as a new version of the dataset.",
    )


def _rows(path: Path, name: str, columns: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yield (place, cells of the columns); the place names the line or row for messages."""
    if name.endswith(".csv"):
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(name, reader.fieldnames or [], columns)
            for row in reader:
                yield f"line {reader.line_num}", [row[column] for column in columns]
    elif name.endswith(".jsonl"):
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        value = json.loads(line)
                    except ValueError as error:
                        raise _unreadable(name, f"line {number} is not JSON ({error}).") from error
                    if not isinstance(value, dict):
                        raise _unreadable(name, f"line {number} is not a JSON object.")
                    _require_columns(name, list(value), columns)
                    yield f"line {number}", [value[column] for column in columns]
    else:
        import pyarrow.parquet

        table = pyarrow.parquet.ParquetFile(path)
        _require_columns(name, table.schema_arrow.names, columns)
        number = 0
        for batch in table.iter_batches(columns=list(columns)):
            for cells in zip(*(batch[column].to_pylist() for column in columns), strict=True):
                number += 1
                yield f"row {number}", list(cells)


def _require_columns(name: str, present: Any, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in present:
            raise _unreadable(name, f"it has no column {column!r}; it has {', '.join(map(repr, present))}.")


def read_rows(folder: Path, file: SplitFile, source: DatasetSource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, cells by role) of one split in the order of its file.

    Raises ``EngineError``: ``hash_mismatch`` when the bytes are not those of the commit, ``unreadable_data`` with the
    line at fault or where the number of rows is not the specification's.
    """
    path = folder / file.path
    if not path.is_file():
        raise EngineError(
            "hash_mismatch",
            f"The file {file.path} is missing.",
            "Restore the dataset's files, then retry.",
            retryable=True,
        )
    if sha256_of(path) != file.sha256:
        raise EngineError(
            "hash_mismatch",
            f"The file {file.path} differs from the one in the dataset's commit.",
            "Restore the file from the store; if the change is wanted, make a new version of the dataset.",
            retryable=True,
        )
    roles, count = list(source.roles), 0
    try:
        for place, cells in _rows(path, file.path, list(source.roles.values())):
            count += 1
            yield place, dict(zip(roles, cells, strict=True))
    except (OSError, UnicodeError, csv.Error, ValueError) as error:
        raise _unreadable(file.path, f"{error}.") from error
    if count != file.rows:
        raise _unreadable(file.path, f"it has {count} rows and the specification says {file.rows}.")


def require_text(file: SplitFile, place: str, cells: Mapping[str, Any], role: str, source: DatasetSource) -> str:
    """Return the text of a role; raises ``EngineError`` where there is none."""
    text = cells[role]
    if not isinstance(text, str) or not text.strip():
        raise _unreadable(file.path, f"{place} has no text in the column {source.roles[role]!r}.")
    return text


def unknown_label(file: SplitFile, place: str, label: object) -> EngineError:
    """Return the error of a label that the specification does not list."""
    return EngineError(
        "unknown_label",
        f"The file {file.path} has at {place} the label {label!r}, which the dataset does not list.",
        "Correct the label, or add it to the dataset's classes in a new version.",
    )


def read_split(folder: Path, file: SplitFile, source: DatasetSource) -> Split:
    """Return one split of texts and classes in the order of its file.

    Raises ``EngineError`` as ``read_rows`` does, and ``unknown_label`` for a class that is not listed.
    """
    index = {label: number for number, label in enumerate(source.labels)}
    texts: list[str] = []
    labels: list[int] = []
    for place, cells in read_rows(folder, file, source):
        texts.append(require_text(file, place, cells, "text", source))
        label = cells["label"]
        label = str(label) if isinstance(label, int) else label
        if label not in index:
            raise unknown_label(file, place, label)
        labels.append(index[label])
    return Split(texts, np.array(labels, dtype=np.int64), np.arange(len(texts)))


def read_numbers(folder: Path, file: SplitFile, source: DatasetSource) -> Split:
    """Return one split of texts and numbers; raises ``EngineError`` as ``read_rows`` does."""
    texts: list[str] = []
    numbers: list[float] = []
    for place, cells in read_rows(folder, file, source):
        texts.append(require_text(file, place, cells, "text", source))
        try:
            number = float(cells["number"])
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise _unreadable(file.path, f"{place} has no number in the column {source.roles['number']!r}.")
        numbers.append(number)
    return Split(texts, np.array(numbers, dtype=np.float64), np.arange(len(texts)))


def read_tag_sets(folder: Path, file: SplitFile, source: DatasetSource) -> Split:
    """Return one split of texts and their tags, rows x tags; raises ``EngineError`` as ``read_split`` does."""
    index = {label: number for number, label in enumerate(source.labels)}
    texts: list[str] = []
    tags: list[list[int]] = []
    for place, cells in read_rows(folder, file, source):
        texts.append(require_text(file, place, cells, "text", source))
        try:
            found = json.loads(cells["labels"] or "[]")
        except (TypeError, ValueError) as error:
            raise _unreadable(file.path, f"{place} has no list of labels.") from error
        for label in found:
            if label not in index:
                raise unknown_label(file, place, label)
        tags.append([index[label] for label in found])
    matrix = np.zeros((len(texts), len(index)), dtype=np.float32)
    for row, members in enumerate(tags):
        matrix[row, members] = 1
    return Split(texts, matrix, np.arange(len(texts)))


def read_all(
    folder: Path, source: DatasetSource, seed: int, read: Callable[[Path, SplitFile, DatasetSource], Any]
) -> dict[str, Any]:
    """Return the splits train, validation and test; without a validation split a tenth of train is held out.

    ``read`` returns a split that has a length and ``take``. Raises what it raises, and ``too_little_data``.
    """
    splits = {name: read(folder, file, source) for name, file in source.files.items()}
    if "validation" not in splits:
        rows = len(splits["train"])
        if rows < FEWEST_ROWS:
            raise EngineError(
                "too_little_data",
                f"The training split has {rows} rows; {FEWEST_ROWS} are needed to hold some of them out.",
                "Add rows, or give the dataset a validation split.",
            )
        held = hold_out(np.zeros(rows, dtype=np.int64), seed)
        splits["validation"] = splits["train"].take(np.flatnonzero(held))
        splits["train"] = splits["train"].take(np.flatnonzero(~held))
    return splits


def read_splits(folder: Path, source: DatasetSource, seed: int) -> dict[str, Split]:
    """Return the splits train, validation and test; a missing validation split is held out of train.

    Raises ``EngineError`` as ``read_split`` does, and ``too_little_data`` when a class has too few rows in train.
    """
    splits = {name: read_split(folder, file, source) for name, file in source.files.items()}
    counts = np.bincount(splits["train"].labels, minlength=len(source.labels))
    if counts.min() < FEWEST_PER_CLASS:
        rare = source.labels[int(counts.argmin())]
        raise EngineError(
            "too_little_data",
            f"The class {rare!r} has {counts.min()} rows in the training split; {FEWEST_PER_CLASS} are needed.",
            "Add examples of that class, merge it with another, or leave it out.",
        )
    if "validation" not in splits:
        held = hold_out(splits["train"].labels, seed)
        splits["validation"] = splits["train"].take(np.flatnonzero(held))
        splits["train"] = splits["train"].take(np.flatnonzero(~held))
    return splits


def hold_out(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a mask of a tenth of the rows, spread over the classes; every class keeps at least one row.

    Rows of each class are shuffled and spread evenly over the unit interval; the highest tenth of the places is taken.
    """
    rng = np.random.default_rng([seed, 1])
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
    held = np.zeros(len(labels), dtype=bool)
    held[np.argsort(place, kind="stable")[len(labels) - max(1, len(labels) // 10) :]] = True
    for label in np.unique(labels):
        members = labels == label
        if held[members].all():
            held[np.flatnonzero(members)[0]] = False
    return held


def tokenise(tokenizer: Any, texts: list[str], max_length: int) -> Tokens:
    """Return the tokens of ``texts``, each cut to ``max_length``."""
    ids: list[np.ndarray] = []
    cut: list[bool] = []
    for start in range(0, len(texts), 4096):
        encodings = tokenizer(texts[start : start + 4096], truncation=True, max_length=max_length, padding=False)
        cut.extend(bool(encoding.overflowing) for encoding in encodings.encodings)
        ids.extend(np.asarray(row, dtype=np.int32) for row in encodings["input_ids"])
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return Tokens(np.concatenate(ids), offsets, pad, np.array(cut, dtype=bool))


def longest_input(tokenizer: Any, config: Any, wanted: int) -> int:
    """Return how many tokens a text may have: ``wanted``, or less when the model or its tokenizer reads less."""
    limit = min(wanted, tokenizer.model_max_length)
    positions = getattr(config, "max_position_embeddings", None)
    if positions:
        # The roberta family starts counting positions after its padding id.
        offset = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        offset = 2 if config.model_type == "mpnet" else offset
        limit = min(limit, positions - offset)
    return int(limit)
