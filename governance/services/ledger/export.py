"""Exports: the ledger, or a stretch of it, as a ZIP that proves itself, written piece by piece in bounded memory.

It holds `entries.jsonl` (number, exact bytes, leaf hash, the indexed columns), `texts.jsonl` (salt and text of what was
not erased), `checkpoints.jsonl`, `keys.json`, `manifest.json`, the verifier and a README. A stretch begins with the
peaks of the tree before it: with the entries they lead to the roots that are signed, which proves both.
"""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance import proofs as proofs_package
from governance.actions import Action
from governance.models import Checkpoint, ErasableText, LedgerEntry, User
from governance.policy import Permission
from governance.proofs import canonical, verify
from governance.services import access
from governance.services.ledger import proofs, receipts, records

CHUNK = 1000
PIECE = 256 * 1024
README = """An export of the ledger {origin}: entries {first} to {last}.

Check it with any Python from 3.11 on, on a machine that has never seen the server:

    python verify.py .                            or the ZIP file itself
    python verify.py . --pin checkpoints.txt      against checkpoints that you kept
    python verify.py . --key HEX                  against the first public key, as you know it from elsewhere

`python verify.py --help` says what it checks and what its exit codes mean. Use your own copy of verify.py if you have
one: whoever made this export could have changed the one that lies beside it.

manifest.json       which ledger, from which entry to which size; the peaks of the tree before the first entry
entries.jsonl       number, canonical (base64, RFC 8785), leaf (SHA-256(0x00 || canonical)), and the indexed columns
texts.jsonl         number, name, salt, text: SHA-256(salt || text) is what the entry commits to{texts}
checkpoints.jsonl   signed notes (C2SP tlog-checkpoint, Ed25519) with their size and root
keys.json           the public keys and the entries that handed the ledger on from one to the next
"""


@dataclass(frozen=True)
class Export:
    """What is exported: entries from `start` up to the size of the checkpoint, with or without their texts."""

    start: int
    checkpoint: Checkpoint
    texts: bool

    @property
    def filename(self) -> str:
        """Return the name under which it is saved."""
        return f"ledger-{self.start}-{self.checkpoint.size}.zip"


@transaction.atomic
def begin(*, actor: User, start: int = 0, upto: int | None = None, texts: bool = False) -> Export:
    """Return the export of the entries from `start` on, up to the first checkpoint of at least `upto` entries.

    That it was taken, by whom, and with which texts is recorded first. Raises Denied; NotSealed where there is nothing.
    """
    access.require(actor, Permission.LEDGER_VIEW)
    marks = Checkpoint.objects.order_by("size")
    mark = marks.last() if upto is None else marks.filter(size__gte=upto).first() or marks.last()
    if mark is None or not 0 <= start < mark.size:
        sealed = mark.size if mark is not None else 0
        raise proofs.NotSealed(f"There is no entry {start} under a checkpoint; {sealed} entries are sealed.")
    if upto is not None and upto <= start:
        raise proofs.NotSealed(f"The stretch from {start} to {upto} is empty; let it end after it begins.")
    records.record(
        Action.LEDGER_EXPORTED,
        actor=actor,
        details={"from": start, "size": mark.size, "root": bytes(mark.root).hex(), "texts": texts},
    )
    return Export(start, mark, texts)


def pieces(export: Export) -> Iterator[bytes]:
    """Yield the ZIP in pieces of about 256 KiB; at any size of the ledger no more than that is held."""
    sink = _Sink()
    with zipfile.ZipFile(cast(BinaryIO, sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, lines in _members(export):
            # The same bytes for the same export: the time is the checkpoint's.
            entry = zipfile.ZipInfo(name, _stamp(export.checkpoint.at))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as member:
                for line in lines:
                    member.write(line)
                    if sink.held > PIECE:
                        yield sink.take()
    yield sink.take()


def _members(export: Export) -> Iterator[tuple[str, Iterable[bytes]]]:
    size = export.checkpoint.size
    manifest = {
        "format": verify.EXPORT,
        "origin": settings.LEDGER_ORIGIN,
        "from": export.start,
        "size": size,
        "peaks": [peak.hex() for peak in proofs.frontier(export.start)],
        "exported_at": canonical.instant(timezone.now()),
    }
    readme = README.format(
        origin=settings.LEDGER_ORIGIN,
        first=export.start,
        last=size - 1,
        texts="" if export.texts else " (left out of this export)",
    )
    yield "README.txt", [readme.encode()]
    yield "manifest.json", [json.dumps(manifest, indent=1).encode()]
    yield "keys.json", [json.dumps(receipts.keys_until(export.checkpoint), indent=1).encode()]
    yield "verify.py", [(Path(proofs_package.__file__).parent / "verify.py").read_bytes()]
    yield "checkpoints.jsonl", _checkpoints(export)
    yield "texts.jsonl", _texts(export) if export.texts else []
    yield "entries.jsonl", _entries(export)


def _entries(export: Export) -> Iterator[bytes]:
    names: tuple[str, ...] = ("sealed__number", "canonical", "leaf_hash", "at", "action", "actor__ledger_id")
    names += ("on_behalf_of__ledger_id", "subject_type", "subject_id", "subject_digest", "scope_id", "request_id")
    for start in range(export.start, export.checkpoint.size, CHUNK):
        end = min(start + CHUNK, export.checkpoint.size)
        rows = LedgerEntry.objects.filter(sealed__number__gte=start, sealed__number__lt=end).order_by("sealed__number")
        for number, data, leaf, at, action, actor, other, kind, pk, digest, scope, request in rows.values_list(*names):
            yield _line(
                {
                    "number": number,
                    "canonical": base64.b64encode(bytes(data)).decode(),
                    "leaf": bytes(leaf).hex(),
                    "columns": {
                        "at": canonical.instant(at),
                        "action": action,
                        "actor": str(actor),
                        "on_behalf_of": str(other) if other else None,
                        "subject": {"type": kind, "id": pk, "digest": digest},
                        "scope": scope,
                        "request": request,
                    },
                }
            )


def _texts(export: Export) -> Iterator[bytes]:
    names = ("entry__sealed__number", "name", "salt", "text")
    for start in range(export.start, export.checkpoint.size, CHUNK):
        end = min(start + CHUNK, export.checkpoint.size)
        rows = ErasableText.objects.filter(entry__sealed__number__gte=start, entry__sealed__number__lt=end)
        for number, name, salt, text in rows.order_by("entry__sealed__number", "name").values_list(*names):
            yield _line({"number": number, "name": name, "salt": bytes(salt).hex(), "text": text})


def _checkpoints(export: Export) -> Iterator[bytes]:
    last = export.start
    while marks := list(
        Checkpoint.objects.filter(size__gt=last, size__lte=export.checkpoint.size).order_by("size")[:CHUNK]
    ):
        for mark in marks:
            yield _line({"size": mark.size, "root": bytes(mark.root).hex(), "note": mark.note})
        last = marks[-1].size


def _line(value: dict) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def _stamp(at: datetime) -> tuple[int, int, int, int, int, int]:
    return at.astimezone(UTC).timetuple()[:6]  # type: ignore[return-value]


class _Sink:
    """What a ZIP file is written into: it can only go on, and what it holds is taken away from time to time."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.held = 0

    def write(self, data: bytes) -> int:
        """Keep the bytes until they are taken."""
        self.parts.append(bytes(data))
        self.held += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing; zipfile asks for it."""

    def take(self) -> bytes:
        """Return what is held and forget it."""
        data = b"".join(self.parts)
        self.parts.clear()
        self.held = 0
        return data
