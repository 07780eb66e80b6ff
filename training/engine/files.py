"""Files that survive a crash: hashed, flushed to disk, moved into place whole, and listed in a manifest."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal, reading it in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> list[str]:
    """Return the paths of all files below ``folder``, relative to it, with forward slashes, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def flush_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; without it a rename may be undone by a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_in_one_piece(target: Path) -> Iterator[Path]:
    """Give a draft folder to fill; on success add its manifest, flush it and rename it to ``target``.

    A process killed at any moment leaves either a complete ``target`` or none. An error removes the draft.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        write_json(draft / MANIFEST, {"files": {name: sha256_of(draft / name) for name in list_files(draft)}})
        for name in list_files(draft):
            with (draft / name).open("rb") as file:
                os.fsync(file.fileno())
        flush_folder(draft)
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
        flush_folder(target.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def manifest_holds(folder: Path) -> bool:
    """Tell whether ``folder`` has a manifest, exactly the files it lists, and each with the hash it lists."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        present = [name for name in list_files(folder) if name != MANIFEST]
        return present == sorted(listed) and all(sha256_of(folder / name) == sha for name, sha in listed.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False
