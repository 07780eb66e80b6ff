"""Imports: an upload read row by row, split, profiled and committed, by whichever process holds the version's token.

The row is the truth. A process claims it with a lease and a token one higher than the last; everything it writes later
names that token, so a process that was paused past its lease can change nothing any more. A killed import is started
again from the received file, at most settings.JOB_ATTEMPTS times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from projects import layouts, profiling, queue, sources, tables
from projects.models import Blob, Dataset, DatasetVersion
from projects.profiling import drift, splits
from projects.services import repositories
from projects.services.datasets import cards, catalogue, uploads

logger = logging.getLogger(__name__)

State = DatasetVersion.State
KEPT_ERRORS = 200
KEPT_WARNINGS = 50
MAX_LABELS = 2_000
MAX_LABEL_CHARS = 200
PROGRESS_SECONDS = 1.0
KEEP_REFUSED = timedelta(hours=24)
"""How long a refused upload is kept, so that it can be read again with other options."""
KEEP_UNMAPPED = timedelta(days=7)
"""How long an upload waits for its columns to be named."""


class Lost(RuntimeError):
    """Another process holds the version now; nothing of this one counts any more."""


class Unfit(Exception):
    """The data cannot become a version; the sentence says why and the advice what to do."""

    def __init__(self, code: str, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.advice = advice


@dataclasses.dataclass(frozen=True)
class _Claim:
    """The right to write to a version until somebody else claims it."""

    version_id: int
    token: int

    def rows(self) -> Any:
        return DatasetVersion.objects.filter(pk=self.version_id, token=self.token, state=State.IMPORTING)

    def write(self, **changes: Any) -> None:
        if not self.rows().update(**changes):
            raise Lost(f"Dataset version {self.version_id} is no longer held with token {self.token}.")

    def folder(self) -> Path:
        return uploads.incoming() / f"import-{self.version_id}-{self.token}"


def run_import(version_id: int) -> DatasetVersion | None:
    """Import the version if it waits and nobody holds it; return it as it is afterwards, None where nothing was to do.

    Refused data ends in the state `refused` with a sentence, advice and the rows at fault; a fault of our own leaves
    the version to the next attempt. Acts in the name of the system, on behalf of the person who uploaded.
    """
    claim = _take(version_id)
    if claim is None:
        return None
    known = ledger.request_id.set(f"import-{version_id}-{claim.token}")
    try:
        with _beating(claim), _workplace(claim) as folder:
            _import(claim, folder)
    except Lost as lost:
        logger.warning("%s Its import is left to who holds it.", lost)
    except Unfit as unfit:
        _refuse(claim, unfit.code, unfit.sentence, unfit.advice)
    except sources.Refused as refused:
        _refuse(claim, refused.code, refused.sentence, refused.advice)
    except Exception:
        logger.exception("The import of dataset version %s failed.", version_id)
        _give_back(claim)
    finally:
        ledger.request_id.reset(known)
    return DatasetVersion.objects.get(pk=version_id)


# Who holds it


def _lease() -> Any:
    return timezone.now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)


def _take(version_id: int) -> _Claim | None:
    free = Q(state=State.RECEIVED, mapped_at__isnull=False) | Q(
        state=State.IMPORTING, lease_until__lt=timezone.now(), attempts__lt=settings.JOB_ATTEMPTS
    )
    with transaction.atomic():
        taken = DatasetVersion.objects.filter(free, pk=version_id).update(
            state=State.IMPORTING,
            token=F("token") + 1,
            attempts=F("attempts") + 1,
            lease_until=_lease(),
            progress_rows=0,
        )
        if not taken:
            return None
        token = DatasetVersion.objects.values_list("token", flat=True).get(pk=version_id)
    return _Claim(version_id, token)


@contextlib.contextmanager
def _beating(claim: _Claim) -> Iterator[None]:
    """Renew the lease from a thread of its own, since reading and profiling can be long between two rows."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(settings.JOB_HEARTBEAT_SECONDS):
            try:
                if not claim.rows().update(lease_until=_lease()):
                    return
            except DatabaseError as error:
                # The next beat may get through; if none does, the lease ends and another process takes over.
                logger.warning("The heartbeat of dataset version %s failed: %s", claim.version_id, error)
            finally:
                connection.close()

    thread = threading.Thread(target=beat, name=f"import-{claim.version_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _workplace(claim: _Claim) -> Iterator[Path]:
    folder = claim.folder()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give_back(claim: _Claim) -> None:
    """After a fault of our own: let the next attempt begin at once, or say that there will be none."""
    version = claim.rows().first()
    if version is None:
        return
    if version.attempts >= settings.JOB_ATTEMPTS:
        _refuse(claim, *_GIVEN_UP)
        return
    claim.rows().update(lease_until=timezone.now())


_GIVEN_UP = (
    "import_failed",
    "The import failed several times, and not because of the data.",
    "Tell an administrator: the reason is in the worker's log. Then upload the file again.",
)


# Reading


@dataclasses.dataclass
class _Problems:
    """What is wrong with rows: the first of each severity are kept, all rows left out are counted."""

    kept: list[dict[str, object]] = dataclasses.field(default_factory=list)
    left_out: int = 0
    errors: int = 0
    warnings: int = 0

    def add(self, problem: sources.RowError) -> None:
        if problem.severity == "error":
            self.errors += 1
            room = self.errors <= KEPT_ERRORS
        else:
            self.warnings += 1
            room = self.warnings <= KEPT_WARNINGS
        if room:
            self.kept.append(problem.as_dict())


@dataclasses.dataclass
class _Rows:
    """What was read: how many rows, and how many of each label."""

    count: int = 0
    labels: Counter[str] = dataclasses.field(default_factory=Counter)
    problems: _Problems = dataclasses.field(default_factory=_Problems)


def _import(claim: _Claim, folder: Path) -> None:
    version = DatasetVersion.objects.select_related("dataset__team", "dataset__repository", "created_by").get(
        pk=claim.version_id
    )
    if not access.allows(version.created_by, Permission.DATASET_UPLOAD, version.dataset):
        raise Unfit(
            "not_allowed",
            f"{version.created_by} may no longer upload to this dataset.",
            "Let a person who may upload the file.",
        )
    received = uploads.received_path(version)
    if not received.is_file():
        raise Unfit("not_kept", "The upload is no longer there.", "Upload the file again.")
    options = uploads.held_options(version)
    whole = folder / "whole.parquet"
    rows = _read(claim, version, options, whole)
    problems = rows.problems
    claim.write(errors=problems.kept, error_count=problems.left_out, progress_rows=rows.count)
    if problems.left_out and options.on_bad_rows == uploads.REFUSE:
        several = problems.left_out != 1
        raise Unfit(
            "bad_rows",
            f"{problems.left_out:,} {'rows' if several else 'row'} cannot be used.",
            "Correct the rows listed and upload the file again, or choose to leave bad rows out.",
        )
    _check_labels(rows, options)
    laid, set_aside = _split(whole, options, folder)
    whole.unlink()
    _check_splits(laid, options)
    names = {split: tables.count(path) for split, path in laid.items()}
    version.rows, version.split_rows, version.labels = sum(names.values()), names, sorted(rows.labels)
    version.errors, version.error_count = problems.kept, problems.left_out
    version.profile = profiling.profile(laid, options.read_column, options.class_column, options.seed)
    version.changes = _changes(version, laid, options)
    version.source |= {
        "layout": options.layout,
        "mapping": options.named(),
        "set_aside": set_aside,
    }
    files = _store(version, laid)
    _finish(claim, version, files)
    received.unlink(missing_ok=True)


def _read(claim: _Claim, version: DatasetVersion, options: uploads.Options, target: Path) -> _Rows:
    """Write every usable row to `target`; bounded in memory whatever the size of the upload."""
    source = uploads.source_of(version, options)
    path, reading = uploads.received_path(version), options.reading()
    columns = source.columns(path, reading).columns
    layout, named = layouts.load(options.layout), options.named()
    rows = _Rows()
    shown = time.monotonic()
    with tables.Writer(target, columns) as writer:
        for batch in source.read(path, reading):
            for problem in batch.errors:
                rows.problems.add(problem)
            rows.problems.left_out += batch.rejected
            for row in batch.rows:
                kept = layout.read({role: row.values.get(column) for role, column in named.items()})
                if isinstance(kept, layouts.Problem):
                    rows.problems.left_out += 1
                    rows.problems.add(_row_error(row, kept, named, source.UNIT))
                    continue
                for role, value in kept.items():
                    row.values[named[role]] = value
                rows.labels.update(layout.labels(kept))
                writer.append(row.values)
            if len(rows.labels) > MAX_LABELS:
                held = named.get("label") or named.get("labels")
                raise Unfit(
                    "too_many_labels",
                    f"The column “{held}” holds more than {MAX_LABELS:,} different labels.",
                    "Check that it is the column with the label, and not one with free text or numbers.",
                )
            rows.count = writer.rows
            if time.monotonic() - shown >= PROGRESS_SECONDS:
                claim.write(progress_rows=rows.count)
                shown = time.monotonic()
    return rows


def _row_error(row: sources.Row, problem: layouts.Problem, named: dict[str, str], unit: str) -> sources.RowError:
    """Return what makes the row unfit to learn from, with its place in the upload."""
    advice = problem.advice.replace("{unit}", unit)
    return sources.RowError(row.line, named.get(problem.role), problem.code, problem.message, advice)


# Splitting


def _check_labels(rows: _Rows, options: uploads.Options) -> None:
    if not rows.count:
        raise Unfit(
            "no_rows", "No row can be used.", "Look at the rows listed, correct them and upload the file again."
        )
    if options.class_column is None:
        return
    if len(rows.labels) < 2:
        only = next(iter(rows.labels))
        raise Unfit(
            "one_label",
            f"Every row has the label “{only}”; a classifier needs at least two different ones.",
            f"Check that “{options.class_column}” is the column with the label, or add rows of another.",
        )
    least = 2 + sum(name != "train" for name in options.fractions)
    if options.split_column:
        return
    rare = sorted(label for label, count in rows.labels.items() if count < least)
    if rare:
        raise Unfit(
            "rare_labels",
            f"{_listed(rare)} {'have' if len(rare) > 1 else 'has'} fewer than {least} rows, "
            "so not every split can hold enough of them.",
            "Add rows with these labels, merge them into others, or remove them.",
        )


def _listed(labels: list[str]) -> str:
    shown = ", ".join(f"“{label[:40]}”" for label in labels[:5])
    return (
        f"The labels {shown} and {len(labels) - 5:,} more"
        if len(labels) > 5
        else (f"The labels {shown}" if len(labels) > 1 else f"The label {shown}")
    )


def _split(whole: Path, options: uploads.Options, folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Lay the splits out as one table each; return them in order and the names of those that were set aside."""
    data = folder / "data"
    data.mkdir()
    set_aside = []
    if options.split_column:
        try:
            assignment = splits.from_column(whole, options.split_column)
        except ValueError as error:
            raise Unfit("bad_split", str(error), "Correct the column, or let the splits be drawn.") from error
        if "test" not in assignment.names:
            raise Unfit(
                "no_test",
                f"The column “{options.split_column}” marks no row as test, so nothing could be measured.",
                "Mark some rows as test, or let the splits be drawn.",
            )
        splits.write(whole, assignment, data)
        if "validation" not in assignment.names:
            # Early stopping looks at a validation split; the test split must stay unseen.
            marked = folder / "train-marked.parquet"
            (data / "train.parquet").rename(marked)
            part = splits.assign(
                marked, options.read_column, options.class_column, {"train": 0.9, "validation": 0.1}, options.seed
            )
            splits.write(marked, part, data)
            marked.unlink()
            set_aside.append("validation")
    else:
        assignment = splits.assign(whole, options.read_column, options.class_column, options.fractions, options.seed)
        splits.write(whole, assignment, data)
    laid = {name: data / f"{name}.parquet" for name in uploads.SPLITS if (data / f"{name}.parquet").exists()}
    return {name: path for name, path in laid.items() if tables.count(path)}, set_aside


def _check_splits(laid: dict[str, Path], options: uploads.Options) -> None:
    """Every split needs rows; every class two of them to learn from and one to be measured by."""
    for name in ("train", "test"):
        if name not in laid:
            raise Unfit(
                f"no_{name}", f"The split {name} would be empty.", "Add rows, or choose other shares for the splits."
            )
    column = options.class_column
    if column is None:
        return
    counts = {name: Counter(row[column] or "" for row in tables.iterate(path, [column])) for name, path in laid.items()}
    labels = sorted(set().union(*counts.values()))
    for name, least in (("train", 2), ("test", 1)):
        short = [label for label in labels if counts[name][label] < least]
        if short:
            raise Unfit(
                f"few_in_{name}",
                f"{_listed(short)} {'have' if len(short) > 1 else 'has'} fewer than {least} "
                f"{'rows' if least > 1 else 'row'} in the split {name}.",
                "Add rows with different texts for them, merge them into other labels, or choose other shares.",
            )


# Storing


def _changes(version: DatasetVersion, laid: dict[str, Path], options: uploads.Options) -> dict[str, Any]:
    """Return what differs from the version before, as `profiling.drift.compare` says it; empty for the first."""
    before = (
        DatasetVersion.objects.filter(dataset=version.dataset, number__lt=version.number, commit__isnull=False)
        .order_by("-number")
        .first()
    )
    if before is None or before.commit is None:
        return {}
    old = {}
    for split in uploads.SPLITS:
        file = before.commit.files.filter(path=catalogue.split_path(split)).select_related("blob").first()
        if file is not None:
            old[split] = repositories.local_path(file.blob)
    try:
        found = drift.compare(old, laid, options.read_column, options.class_column)
    except KeyError:
        held = " and ".join(f"“{column}”" for column in before.columns.values())
        return {
            "since": before.number,
            "comparable": False,
            "reason": f"Version {before.number} keeps its rows in other columns ({held}).",
        }
    return {"since": before.number, "comparable": True, **found}


def _store(version: DatasetVersion, laid: dict[str, Path]) -> dict[str, Blob]:
    """Store the files of the commit and return them by path. Bytes that no commit names do no harm."""
    files = {catalogue.split_path(split): repositories.store_blob(path) for split, path in laid.items()}
    described = {
        name: version.source.get(name) for name in ("filename", "sha256", "size", "format", "options", "mapping")
    }
    described |= {"rows": version.rows, "splits": version.split_rows, "left_out": version.error_count}
    files["source.json"] = repositories.store_blob(_json(described))
    files["profile.json"] = repositories.store_blob(_json(version.profile))
    files["README.md"] = repositories.store_blob(cards.card(dataset=version.dataset, version=version).encode())
    return files


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _finish(claim: _Claim, version: DatasetVersion, files: dict[str, Blob]) -> None:
    """Make the commit and the version's last state in one transaction, if the token still is this process's."""
    uploader = version.created_by
    with transaction.atomic():
        held = claim.rows().select_for_update().first()
        if held is None:
            raise Lost(f"Dataset version {claim.version_id} is no longer held with token {claim.token}.")
        made = repositories.commit(
            actor=uploader,
            repository=version.dataset.repository,
            files=files,
            message=f"Version {version.number}: {version.rows} rows from {version.source['filename']}",
        )
        claim.write(
            state=State.PROFILED,
            commit=made,
            rows=version.rows,
            split_rows=version.split_rows,
            labels=version.labels,
            profile=version.profile,
            changes=version.changes,
            source={name: value for name, value in version.source.items() if name != "incoming"},
            errors=version.errors,
            error_count=version.error_count,
            progress_rows=version.rows,
            refusal="",
            advice="",
            lease_until=None,
            finished_at=timezone.now(),
        )
        Dataset.objects.filter(pk=version.dataset_id).update(changed_at=timezone.now())
        ledger.record(
            Action.DATASET_IMPORTED,
            actor=User.objects.system(),
            on_behalf_of=uploader,
            subject=version,
            digest=made.oid,
            details={
                "dataset": str(version.dataset),
                "version": version.number,
                "rows": version.rows,
                "splits": version.split_rows,
                "left_out": version.error_count,
                "upload": version.source["sha256"],
                "token": claim.token,
            },
        )


def _refuse(claim: _Claim, code: str, sentence: str, advice: str) -> None:
    with transaction.atomic():
        version = claim.rows().select_for_update().select_related("dataset__team", "created_by").first()
        if version is None:
            logger.warning("Dataset version %s is no longer held; its refusal is dropped.", claim.version_id)
            return
        claim.write(state=State.REFUSED, refusal=sentence, advice=advice, lease_until=None, finished_at=timezone.now())
        Dataset.objects.filter(pk=version.dataset_id).update(changed_at=timezone.now())
        ledger.record(
            Action.DATASET_IMPORT_REFUSED,
            actor=User.objects.system(),
            on_behalf_of=version.created_by,
            subject=version,
            digest=version.source.get("sha256", ""),
            details={"dataset": str(version.dataset), "version": version.number, "code": code, "token": claim.token},
            texts={"refusal": sentence},
        )


# Taking up what fell down


def requeue_lost(*, actor: User) -> dict[str, int]:
    """Ring for versions that wait and that nobody took, end those out of attempts, remove what nobody needs any more.

    For the scheduler; safe in several processes at once. Returns how many were `rung`, `refused` and `removed`.
    """
    access.require(actor, Permission.SITE_ADMINISTER)
    now = timezone.now()
    expired = Q(state=State.IMPORTING, lease_until__lt=now)
    refused = 0
    for version_id, token in DatasetVersion.objects.filter(expired, attempts__gte=settings.JOB_ATTEMPTS).values_list(
        "pk", "token"
    ):
        _refuse(_Claim(version_id, token), *_GIVEN_UP)
        refused += 1
    silent = Q(rung_at=None) | Q(rung_at__lt=now - timedelta(seconds=settings.RING_AGAIN_SECONDS))
    waiting = list(
        DatasetVersion.objects.filter(
            silent, Q(state=State.RECEIVED, mapped_at__isnull=False) | (expired & Q(attempts__lt=settings.JOB_ATTEMPTS))
        )
        .order_by("pk")
        .values_list("pk", flat=True)[:200]
    )
    DatasetVersion.objects.filter(pk__in=waiting).update(rung_at=now)
    for version_id in waiting:
        queue.ring(version_id)
    return {"rung": len(waiting), "refused": refused, "removed": _tidy()}


def _tidy() -> int:
    """Remove uploads that were refused or left unnamed long ago, and the folders of imports that died."""
    folder, now = uploads.incoming(), timezone.now()
    if not folder.is_dir():
        return 0
    live = DatasetVersion.objects.filter(
        Q(state=State.IMPORTING)
        | Q(state=State.RECEIVED, mapped_at__isnull=False)
        | Q(state=State.RECEIVED, created_at__gt=now - KEEP_UNMAPPED)
        | Q(state=State.REFUSED, finished_at__gt=now - KEEP_REFUSED)
    ).values_list("pk", "token", "state", "source__incoming")
    keep = set()
    for pk, token, state, name in live:
        keep.add(name)
        if state == State.IMPORTING:
            keep.add(f"import-{pk}-{token}")
    removed = 0
    for path in folder.iterdir():
        # An hour covers an upload that is being received and has no row yet, and an import that was just claimed.
        if path.name in keep or not path.name.startswith(("received-", "import-")) or _age(path) < 3600:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed += 1
    return removed


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
