"""The first training rows of a version as the base model will read them: their tokens, and which of them are learned.

Nothing is loaded but the tokenizer. The text of a language model's example is made by the engine's own code, so that
the preview shows what is trained; a chat template is rendered only for a base model that somebody has allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet
from tokenizers import Tokenizer

from projects.models import Blob, DatasetVersion
from projects.services import repositories
from training.engine import chat
from training.engine.recipes import Recipe
from training.engine.spec import SplitFile
from training.models import BaseModel

SAMPLE_ROWS = 512
SHOWN_ROWS = 3
SHOWN_TOKENS = 200
MAX_SMALL_FILE = 4 * 1024 * 1024
_WORDS = ("chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Shown:
    """The beginning of one training example in tokens: (text, whether it is learned); `row` counts from 1."""

    row: int
    tokens: list[tuple[str, bool]]
    total: int
    learned: int


@dataclass(frozen=True)
class Sample:
    """How long the first training rows are in tokens, how many of them are learned, and some of them as they are read.

    `ends` are the places of the last learned token of each row; empty where nothing could be counted. `trouble` is a
    sentence about what the base model's tokenizer or template cannot do, `template` says whether it has one.
    """

    lengths: tuple[int, ...] = ()
    learned: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    shown: tuple[Shown, ...] = ()
    template: bool = False
    trouble: str = ""

    @property
    def rows(self) -> int:
        """Return how many rows were counted."""
        return len(self.lengths)


def split_files(version: DatasetVersion) -> dict[str, SplitFile]:
    """Return the file of each split that has rows, as the commit names it."""
    assert version.commit is not None
    rows = version.split_rows or {}
    files: dict[str, SplitFile] = {}
    for path, sha256 in version.commit.files.values_list("path", "blob_id"):
        split = path.rsplit("/", 1)[-1].split(".", 1)[0]
        if path.endswith((".parquet", ".csv", ".jsonl")) and rows.get(split):
            files[split] = SplitFile(path=path, sha256=sha256, rows=int(rows[split]))
    return files


def take(version: DatasetVersion, base_model: BaseModel, recipe: Recipe, values: Mapping[str, Any]) -> Sample:
    """Return the sample; an empty one where the files are not at hand or not readable."""
    train = split_files(version).get("train")
    held = dict(base_model.commit.files.values_list("path", "blob_id"))
    if train is None or "tokenizer.json" not in held or not train.path.endswith(".parquet"):
        return Sample()
    columns = tuple(version.columns.items())
    if recipe.measure != "generation":
        return _texts(train.sha256, dict(columns)["text"], held["tokenizer.json"])
    plain = values.get("format") == "plain"
    if base_model.state != BaseModel.State.ALLOWED and not plain:
        return Sample(trouble="Examples are shown as the model reads them once the base model is allowed.")
    found = _examples(
        train.sha256,
        version.layout,
        columns,
        held["tokenizer.json"],
        tuple(held.get(name, "") for name in _WORDS),
        plain,
    )
    if version.layout == "conversations" and not found.template and not plain and not found.trouble:
        trouble = (
            "The base model has no chat template: the messages of a conversation are read one after the other, without "
            "saying who speaks."
        )
        return Sample(found.lengths, found.learned, found.starts, found.shown, False, trouble)
    return found


def _tokenizer(sha256: str) -> Tokenizer | None:
    try:
        words = Tokenizer.from_file(str(repositories.local_path(Blob(sha256=sha256))))
    except (repositories.Missing, NotImplementedError, OSError, ValueError):
        return None
    except Exception as error:
        # tokenizers raises bare Exception for a file that it cannot read; the engine will say so with more detail.
        if type(error) is Exception:
            return None
        raise
    words.no_truncation()
    words.no_padding()
    return words


def _rows(sha256: str, columns: list[str]) -> list[dict[str, Any]]:
    try:
        table = pyarrow.parquet.ParquetFile(repositories.local_path(Blob(sha256=sha256)))
        batch = next(table.iter_batches(batch_size=SAMPLE_ROWS, columns=columns), None)
    except (repositories.Missing, NotImplementedError, OSError, KeyError, ValueError):
        return []
    return batch.to_pylist() if batch is not None else []


@lru_cache(maxsize=64)
def _texts(table: str, column: str, tokenizer: str) -> Sample:
    words = _tokenizer(tokenizer)
    texts = [row[column] for row in _rows(table, [column]) if isinstance(row.get(column), str)]
    if words is None or not texts:
        return Sample()
    return Sample(lengths=tuple(len(encoding.ids) for encoding in words.encode_batch(texts)))


@lru_cache(maxsize=32)
def _examples(
    table: str, layout: str, columns: tuple[tuple[str, str], ...], tokenizer: str, files: tuple[str, ...], plain: bool
) -> Sample:
    words = _tokenizer(tokenizer)
    if words is None:
        return Sample()
    try:
        contents = [_small(sha256) for sha256 in files]
        template = None if plain else chat.Template.read(*contents)
        end = words.token_to_id(chat.end_token(contents[1], contents[2]))
        encoded = []
        for row in _rows(table, [column for _role, column in columns]):
            messages = chat.messages_of(layout, {role: row[column] for role, column in columns})
            encoded.append(chat.encode(words, chat.render(messages, template), end, 10**9))
    except (repositories.Missing, NotImplementedError, OSError):
        return Sample()
    except (chat.TemplateError, ValueError, KeyError) as error:
        return Sample(trouble=f"The examples cannot be shown: {error}.".replace("..", "."))
    return Sample(
        lengths=tuple(len(one.ids) for one in encoded),
        learned=tuple(sum(one.learned) for one in encoded),
        starts=tuple(one.learned.index(True) if True in one.learned else len(one.ids) for one in encoded),
        shown=tuple(_shown(words, number, one) for number, one in enumerate(encoded[:SHOWN_ROWS], start=1)),
        template=template is not None,
    )


def _small(sha256: str) -> str:
    if not sha256:
        return ""
    path = Path(repositories.local_path(Blob(sha256=sha256)))
    if path.stat().st_size > MAX_SMALL_FILE:
        raise chat.TemplateError("a file of the tokenizer is too large to be looked at")
    return path.read_text(encoding="utf-8")


def _shown(words: Tokenizer, number: int, one: chat.Encoded) -> Shown:
    pieces: list[tuple[str, bool]] = []
    said = ""
    for place in range(min(len(one.ids), SHOWN_TOKENS)):
        # A letter may be spread over several tokens: what is new in the text so far is what this one adds.
        text = words.decode(one.ids[: place + 1], skip_special_tokens=False)
        pieces.append((text[len(said) :] if text.startswith(said) else text, one.learned[place]))
        said = text
    return Shown(number, pieces, len(one.ids), sum(one.learned))
