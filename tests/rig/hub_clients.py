"""Older clients of the Hub, each in an environment of its own; run as a module it makes those that are missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

VERSIONS = ("1.33.0", "0.36.2")
"""Beside the one that the product itself is installed with: the last of the first major version, the last before it."""


class ClientMissing(RuntimeError):
    """The environment of a client was not made."""


def folder(version: str) -> Path:
    """Where the environment of this version is: inside the project's own, and removed together with that."""
    return Path(sys.prefix) / "clients" / f"huggingface_hub-{version}"


def python(version: str) -> Path:
    """The interpreter that has this version of huggingface_hub.

    Raises:
        ClientMissing: saying what to do.
    """
    found = folder(version) / "bin" / "python"
    if not found.exists():
        raise ClientMissing(f"huggingface_hub {version} is not installed beside the project. Run: make rig")
    return found


def make(version: str) -> Path:
    """Install this version into an environment of its own where it is not there already, and return its interpreter."""
    place = folder(version)
    if not (place / "bin" / "python").exists():
        unfinished = place.with_name(f"{place.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        venv.create(unfinished, with_pip=False, symlinks=True)
        command = [sys.executable, "-m", "pip", "--python", str(unfinished / "bin" / "python"), "install", "--quiet"]
        subprocess.run(
            [*command, "--disable-pip-version-check", "--only-binary", ":all:", f"huggingface_hub=={version}"],
            check=True,
        )
        # Nothing is called by a path inside it but the interpreter, which finds its packages wherever it is.
        unfinished.rename(place)
    return python(version)


if __name__ == "__main__":
    for wanted in VERSIONS:
        print(f"huggingface_hub {wanted}: {make(wanted)}")
