"""The system's Chromium for browser tests; run as a module it installs Debian's where none is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SENTENCE = (
    "The browser tests need Chromium and found none. Install it (on Debian: apt-get install chromium), "
    "or name a binary in the environment variable CHROMIUM."
)


class ChromiumMissing(RuntimeError):
    """No Chromium was found."""


def path() -> Path:
    """The browser's program: the one named by CHROMIUM, or the first that the system has.

    Raises:
        ChromiumMissing: saying what to do.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            raise ChromiumMissing(f"CHROMIUM names {named}, which is not a program that can be run.")
        return Path(named)
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ChromiumMissing(SENTENCE)


def launch_arguments() -> list[str]:
    """Flags for a browser that runs in a container, maybe as root, with little shared memory and no network."""
    arguments = ["--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    # Chromium's own sandbox refuses to start for root.
    return [*arguments, "--no-sandbox"] if os.geteuid() == 0 else arguments


def install() -> Path | None:
    """Chromium's path, installing Debian's package where none is found; None when that is not possible here."""
    try:
        return path()
    except ChromiumMissing:
        pass
    apt = shutil.which("apt-get")
    if apt is None:
        return None
    command = [apt]
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            return None
        command = [sudo, "-n", apt]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("No Chromium found: installing Debian's.", flush=True)
    for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        if subprocess.run([*command, *step], env=environment, check=False).returncode != 0:
            return None
    try:
        return path()
    except ChromiumMissing:
        return None


if __name__ == "__main__":
    try:
        found = install()
    except ChromiumMissing as error:
        sys.exit(str(error))
    # Without it the other tests still run; each browser test then fails with the same sentence.
    print(f"Chromium: {found}" if found else SENTENCE)
