"""Uploads: bytes received by streaming, their columns named by a person, and then handed to the importer."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from projects import layouts, queue, sources
from projects.models import Dataset, DatasetVersion
from projects.services.fields import Invalid

CHUNK = 1024 * 1024
MAX_NAME = 200
SPLITS = ("train", "validation", "test")
DEFAULT_FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
REFUSE, SKIP = "refuse", "skip"
State = DatasetVersion.State

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Closed(access.Denied):
    """The version is past the point where its columns could be named."""


@dataclass(frozen=True)
class Options:
    """How an upload is to be read: what a row is, which columns hold it, how splits are drawn, what bad rows mean.

    `layout` names what a row is made of (see `projects.layouts`); `columns` maps its roles to columns, but for text and
    label, which have options of their own. `fractions` apply where no split column is named and add up to 1; `format`
    names a source, such as csv; rows that cannot be used are left out with `on_bad_rows` "skip" and stop the import
    with "refuse".
    """

    text_column: str = ""
    label_column: str = ""
    split_column: str = ""
    fractions: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_FRACTIONS))
    seed: int = 0
    format: str = ""
    delimiter: str = ""
    sheet: str = ""
    records: str = ""
    on_bad_rows: str = REFUSE
    layout: str = layouts.DEFAULT
    columns: dict[str, str] = field(default_factory=dict)

    def named(self) -> dict[str, str]:
        """Return the columns by role, for the roles of the layout alone."""
        held = {"text": self.text_column, "label": self.label_column, **self.columns}
        return {role.name: held[role.name] for role in layouts.get(self.layout).roles if held.get(role.name)}

    def missing(self) -> layouts.Role | None:
        """Return the first role that needs a column and has none."""
        named = self.named()
        return next((r for r in layouts.get(self.layout).roles if r.required and r.name not in named), None)

    @property
    def mapped(self) -> bool:
        """Return whether the columns are named, so that the import can start."""
        return self.missing() is None

    @property
    def read_column(self) -> str:
        """Return the column by whose text rows are told apart."""
        return self.named().get(layouts.get(self.layout).text, "")

    @property
    def class_column(self) -> str | None:
        """Return the column whose values are spread evenly over the splits, where there is one."""
        return self.named().get(layouts.get(self.layout).stratum)

    def reading(self, *, nested: bool | None = None) -> sources.Options:
        """Return what a source is told; lists and objects in cells are kept where the layout has a use for them."""
        return sources.Options(
            delimiter=self.delimiter or None,
            sheet=self.sheet or None,
            records=self.records or None,
            nested=layouts.get(self.layout).nested if nested is None else nested,
        )


def options_of(given: Mapping[str, Any], *, base: Options | None = None) -> Options:
    """Return the options with what was given checked and put over `base`; None means not given. Raises Invalid."""
    values = asdict(base or Options())
    for name, value in given.items():
        if name not in values:
            raise Invalid(f"“{name}” is not an option; these are: {', '.join(values)}.", field=name)
        if value is not None:
            values[name] = value
    values |= _columns_of(values)
    for name in ("text_column", "label_column", "split_column", "format", "delimiter", "sheet", "records"):
        if not isinstance(values[name], str) or len(values[name]) > MAX_NAME:
            raise Invalid(f"Give a text of at most {MAX_NAME} characters.", field=name)
    values["fractions"] = _fractions(values["fractions"])
    if isinstance(values["seed"], bool) or not isinstance(values["seed"], int) or not 0 <= values["seed"] < 2**31:
        raise Invalid("The seed is a whole number from 0 to 2147483647.", field="seed")
    if values["on_bad_rows"] not in {REFUSE, SKIP}:
        raise Invalid("Say “refuse” to stop at bad rows, or “skip” to leave them out.", field="on_bad_rows")
    if values["format"] and values["format"] not in sources.all_sources():
        known = ", ".join(sources.all_sources())
        raise Invalid(f"“{values['format']}” is not a format; these are: {known}.", field="format")
    if values["delimiter"] and len(values["delimiter"]) != 1:
        raise Invalid("The delimiter is one character, such as a comma, a semicolon or a tab.", field="delimiter")
    return Options(**values)


def _columns_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return layout and columns checked; those of text and label go to the options of their own."""
    if values["layout"] not in layouts.names():
        raise Invalid(f"Choose what a row is made of: {', '.join(layouts.names())}.", field="layout")
    known = [role.name for role in layouts.get(values["layout"]).roles]
    given = values["columns"]
    if not isinstance(given, Mapping):
        raise Invalid("Say which column holds what, by role.", field="columns")
    for role, column in given.items():
        if role not in known:
            raise Invalid(f"This layout has no “{str(role)[:40]}”; it has {', '.join(known)}.", field="columns")
        if not isinstance(column, str) or len(column) > MAX_NAME:
            raise Invalid(f"Give a text of at most {MAX_NAME} characters.", field="columns")
    found: dict[str, Any] = {f"{role}_column": given[role] for role in ("text", "label") if role in given}
    return found | {"columns": {r: c for r, c in given.items() if c and r not in ("text", "label")}}


def _fractions(given: Any) -> dict[str, float]:
    if not isinstance(given, Mapping) or not set(given) <= set(SPLITS) or not {"train", "test"} <= set(given):
        raise Invalid("Give the shares of train, validation and test, such as 0.8, 0.1 and 0.1.", field="fractions")
    shares = {}
    for name in SPLITS:
        try:
            share = float(given.get(name) or 0)
        except (TypeError, ValueError) as error:
            raise Invalid(f"The share of {name} is not a number.", field="fractions") from error
        if not 0 <= share < 1 or (share == 0 and name != "validation"):
            raise Invalid(f"The share of {name} must be above 0 and below 1.", field="fractions")
        if share:
            shares[name] = share
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise Invalid(f"The shares add up to {sum(shares.values()):g}; they must add up to 1.", field="fractions")
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


# Receiving


def incoming() -> Path:
    """Return the folder in which uploads wait for their import."""
    return Path(settings.VAR) / "incoming"


def received_path(version: DatasetVersion) -> Path:
    """Return where the version's upload waits."""
    return incoming() / str(version.source.get("incoming") or "none")


def source_of(version: DatasetVersion, options: Options) -> ModuleType:
    """Return the source that reads the version's upload; raises sources.Refused."""
    path = received_path(version)
    if options.format:
        chosen = sources.all_sources()[options.format]
        if not chosen.sniff(path):
            raise sources.Refused(
                "content_mismatch",
                f"The content is not {chosen.NAME}.",
                "Choose another format, or let it be found by the file's name.",
            )
        return chosen
    return sources.choose(path, version.source["filename"])


def receive(*, actor: User, dataset: Dataset, file: File, options: Mapping[str, Any] | None = None) -> DatasetVersion:
    """Take an upload in by streaming and return the new version; its import starts once its columns are named.

    With `text_column` and `label_column` among the options (see Options) it starts at once. Raises Denied, or Invalid
    (field `file`) for a file that is too large, empty, or of no known format, with what to do about it.
    """
    access.require(actor, Permission.DATASET_UPLOAD, dataset)
    wanted = options_of(options or {})
    filename = _filename(file)
    place = incoming() / f"received-{uuid.uuid4().hex}"
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Bytes are received before the transaction: a slow upload must not hold a lock.
        sha256, size = _stream(file, place)
        source = {"filename": filename, "sha256": sha256, "size": size, "incoming": place.name}
        draft = DatasetVersion(dataset=dataset, source=source)
        looked = _look(draft, wanted, nested=None if wanted.mapped else True)
        if wanted.mapped:
            _check_columns(wanted, looked.columns)
        source |= {
            "format": looked.format,
            "unit": looked.unit,
            "columns": looked.columns,
            "guess": asdict(looked.guess),
            "options": asdict(wanted),
        }
        with transaction.atomic():
            Dataset.objects.select_for_update().get(pk=dataset.pk)
            last = dataset.versions.aggregate(last=Max("number"))["last"] or 0
            version = DatasetVersion.objects.create(
                dataset=dataset,
                number=last + 1,
                source=source,
                created_by=actor,
                mapped_at=timezone.now() if wanted.mapped else None,
                rung_at=timezone.now() if wanted.mapped else None,
            )
            Dataset.objects.filter(pk=dataset.pk).update(changed_at=timezone.now())
            ledger.record(
                Action.DATASET_UPLOADED,
                actor=actor,
                subject=version,
                digest=sha256,
                details={"dataset": str(dataset), "version": version.number, "size": size, "format": looked.format},
                texts={"filename": filename},
            )
            if wanted.mapped:
                transaction.on_commit(lambda: queue.ring(version.pk))
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return version


def _filename(file: File) -> str:
    name = _CONTROL.sub("", str(file.name or "").replace("\\", "/").rsplit("/", 1)[-1]).strip()
    if not name:
        raise Invalid("The file has no name; its ending says how to read it.", field="file")
    if len(name) > MAX_NAME:
        name = name[-MAX_NAME:]
    return name


def _stream(file: File, place: Path) -> tuple[str, int]:
    """Write the upload to `place`, safely on disk, and return its sha256 and size; raises Invalid."""
    limit = settings.MAX_UPLOAD_BYTES
    too_large = Invalid(
        f"The file is larger than {limit // (1024 * 1024):,} MB. Split it, or ask an administrator to raise the limit.",
        field="file",
    )
    if (file.size or 0) > limit:
        raise too_large
    digest, size = hashlib.sha256(), 0
    # "x": nothing that is there is ever written over.
    with open(place, "xb") as copy:
        for chunk in file.chunks(CHUNK):
            size += len(chunk)
            if size > limit:
                raise too_large
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    if not size:
        raise Invalid("The file is empty. Check that the export finished, then upload it again.", field="file")
    return digest.hexdigest(), size


# Looking at what was received


@dataclass(frozen=True)
class Guess:
    """Which columns probably hold text, label and split; an empty name where none fits.

    `layout` is what a row probably is made of, `columns` the columns of its other roles.
    """

    text: str = ""
    label: str = ""
    split: str = ""
    layout: str = layouts.DEFAULT
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Looked:
    """The first look at an upload: its format, columns, first rows, problems met there and the columns to propose."""

    format: str
    unit: str
    columns: list[str]
    sample: list[sources.Row]
    errors: list[sources.RowError]
    details: dict[str, object]
    guess: Guess


def preview(*, actor: User, version: DatasetVersion, options: Mapping[str, Any] | None = None) -> Looked:
    """Return the first look at a received upload, so that a person can name its columns.

    Raises Denied, Closed where the upload is no longer kept, Invalid (field `file`) where it cannot be read so.
    """
    access.require(actor, Permission.DATASET_UPLOAD, version.dataset)
    if not received_path(version).is_file():
        raise Closed("The upload is no longer kept; upload the file again.", code="not_kept", subject=version)
    # Whatever a row is made of in the end, everything that the file holds is shown.
    return _look(version, options_of(options or {}, base=held_options(version)), nested=True)


def held_options(version: DatasetVersion) -> Options:
    """Return the options that the version has so far."""
    return Options(**(version.source.get("options") or {}))


def _look(version: DatasetVersion, options: Options, *, nested: bool | None = None) -> Looked:
    try:
        source = source_of(version, options)
        seen = source.columns(received_path(version), options.reading(nested=nested))
    except sources.Refused as refused:
        raise Invalid(f"{refused.sentence} {refused.advice}".strip(), field="file") from refused
    name = source.__name__.rsplit(".", 1)[-1]
    return Looked(
        name, source.UNIT, seen.columns, seen.sample, seen.errors, seen.details, guess(seen.columns, seen.sample)
    )


_TEXT = (
    *("text", "sentence", "message", "body", "content", "request", "question", "utterance", "comment", "review"),
    *("description", "email", "title"),
)
_LABEL = ("label", "labels", "category", "class", "intent", "target", "topic", "tag", "queue", "team", "department")
_SPLIT = ("split", "subset", "fold", "partition", "set")
_SPLIT_WORDS = frozenset(
    ("train", "training", "validation", "valid", "val", "dev", "development", "eval", "test", "testing", "holdout")
)
LONG_LABEL = 80
"""A column with a longer cell than this is not proposed as the label."""


def guess(columns: list[str], sample: list[sources.Row]) -> Guess:
    """Return the columns that names and first rows suggest."""
    cells = {name: [value for row in sample if (value := row.values.get(name))] for name in columns}
    mean = {name: sum(map(len, found)) / len(found) if found else 0.0 for name, found in cells.items()}

    def named(words: tuple[str, ...]) -> list[str]:
        ranked = [(words.index(word), name) for name in columns if (word := name.strip().lower()) in words]
        return [name for _rank, name in sorted(ranked)]

    split = next((n for n in named(_SPLIT) if {c.strip().lower() for c in cells[n]} <= _SPLIT_WORDS), "")
    left = [name for name in columns if name != split]
    label = next((name for name in named(_LABEL) if name in left), "")
    text = next((name for name in named(_TEXT) if name not in {split, label}), "")
    if not text:
        text = max((name for name in left if name != label), key=lambda name: mean[name], default="")
    if not label:
        short = [n for n in left if n != text and cells[n] and max(map(len, cells[n])) <= LONG_LABEL]
        repeated = [n for n in short if len(set(cells[n])) < len(cells[n])]
        label = min(repeated or short, key=lambda name: len(set(cells[name])), default="")
    layout, others = _guess_layout(columns, cells)
    return Guess(text, label, split, layout, others)


def _guess_layout(columns: list[str], cells: Mapping[str, list[str]]) -> tuple[str, dict[str, str]]:
    """Return the layout whose roles are all named like columns of the file, with these columns; the usual one else."""
    plain = {name.strip().lower(): name for name in reversed(columns)}

    def named(role: layouts.Role) -> str:
        return next((plain[word] for word in role.words if word in plain), "")

    for name, sure in (
        ("conversations", lambda found: all(c.lstrip().startswith("[{") for c in cells[found["messages"]])),
        ("prompts", lambda found: len(set(found.values())) == len(found)),
        ("tag_sets", lambda found: any(c.lstrip().startswith("[") or "|" in c for c in cells[found["labels"]])),
    ):
        found = {role.name: named(role) for role in layouts.get(name).roles if named(role)}
        wanted = (role.name for role in layouts.get(name).roles if role.required and role.name != "text")
        if all(role in found for role in wanted) and sure(found):
            return name, {role: column for role, column in found.items() if role not in ("text", "label")}
    return layouts.DEFAULT, {}


# Naming the columns


@transaction.atomic
def map_columns(*, actor: User, version: DatasetVersion, **options: Any) -> DatasetVersion:
    """Say which columns hold what (see Options) and start the import; return the version.

    A version that was refused may be read again with other options as long as its upload is kept. Raises Denied, Closed
    once the import has begun, Invalid for a column that is not there.
    """
    access.require(actor, Permission.DATASET_UPLOAD, version.dataset)
    version = DatasetVersion.objects.select_for_update().select_related("dataset__team").get(pk=version.pk)
    waiting = version.state == State.RECEIVED and version.mapped_at is None
    if not waiting and version.state != State.REFUSED:
        raise Closed(
            f"The columns of this version are settled: it is {version.get_state_display().lower()}.",
            code="closed",
            subject=version,
        )
    if not received_path(version).is_file():
        raise Closed("The upload is no longer kept; upload the file again.", code="not_kept", subject=version)
    chosen = options_of(options, base=held_options(version))
    missing = chosen.missing()
    if missing is not None:
        raise Invalid(f"Choose the column that holds the {missing.title.lower()}.", field=f"{missing.name}_column")
    looked = _look(version, chosen)
    _check_columns(chosen, looked.columns)
    version.source |= {
        "format": looked.format,
        "unit": looked.unit,
        "columns": looked.columns,
        "options": asdict(chosen),
    }
    version.state = State.RECEIVED
    version.mapped_at = version.rung_at = timezone.now()
    version.attempts = version.progress_rows = version.error_count = 0
    version.errors, version.refusal, version.advice, version.finished_at = [], "", "", None
    version.save()
    ledger.record(
        Action.DATASET_MAPPED,
        actor=actor,
        subject=version,
        digest=version.source["sha256"],
        details={
            "version": version.number,
            "text_column": chosen.text_column,
            "label_column": chosen.label_column,
            "split_column": chosen.split_column,
            "fractions": {name: f"{share:.6g}" for name, share in chosen.fractions.items()},
            "seed": chosen.seed,
            "on_bad_rows": chosen.on_bad_rows,
            **({} if chosen.layout == layouts.DEFAULT else {"layout": chosen.layout, "columns": chosen.named()}),
        },
    )
    transaction.on_commit(lambda: queue.ring(version.pk))
    return version


def _check_columns(options: Options, columns: list[str]) -> None:
    chosen: dict[str, str] = {}
    named = {f"{role}_column": column for role, column in options.named().items()}
    for name, column in {**named, "split_column": options.split_column}.items():
        if not column:
            continue
        if column not in columns:
            listed = ", ".join(f"“{one}”" for one in columns[:20]) + (" …" if len(columns) > 20 else "")
            raise Invalid(f"There is no column “{column}”; the file has {listed}.", field=name)
        if column in chosen:
            raise Invalid(f"“{column}” is the {chosen[column].split('_')[0]} column already.", field=name)
        chosen[column] = name
