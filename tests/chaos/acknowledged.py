"""Writers that remember what the database acknowledged, a program of its own: what a killed server must not lose.

`python -m tests.chaos.acknowledged prepare` | `write FILE THREADS` | `seal FILE` | `audit FOLDER`; the middle two go on
until the file `FILE.stop` is there. A line of a writer's file is a row and its ledger entry, whose transaction was
committed as far as the writer was told; a line of the sealer's file is a checkpoint.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from pathlib import Path

import django


def prepare() -> dict:
    """Migrate, make the key and the person in whose name everything is written."""
    from django.core.management import call_command

    from governance.models import User
    from governance.policy import Role
    from governance.services import ledger
    from tests.personas import make_person, make_role

    call_command("migrate", interactive=False, verbosity=0)
    User.objects.system()
    make_role(make_person("frank"), Role.ADMINISTRATOR)
    ledger.ensure_key()
    return {"ready": True}


def write(file: Path, threads: int) -> dict:
    """Create governed rows with their entries, as fast as they are acknowledged, in several threads."""
    stop = file.with_suffix(".stop")
    lock, failures = threading.Lock(), []
    with file.open("a") as notes:

        def loop(number: int) -> None:
            from django.db import Error, connection, transaction

            from governance.models import LedgerEntry, User
            from projects.services import goals

            made = 0
            while not stop.exists():
                try:
                    frank = User.objects.get(email="frank@example.org")
                    with transaction.atomic():
                        goal = goals.create(actor=frank, title=f"{file.stem} {number} {made}", description="")
                        entry = LedgerEntry.objects.about(goal).values_list("pk", flat=True).get()
                except Error as error:
                    # Whether it was committed nobody can tell; only what was acknowledged is noted.
                    with lock:
                        failures.append(type(error).__name__)
                    connection.close()
                    time.sleep(random.uniform(0.01, 0.05))
                    continue
                made += 1
                with lock:
                    notes.write(f"{goal.pk} {entry}\n")
                    notes.flush()

        running = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    return {"failures": len(failures)}


def seal(file: Path) -> dict:
    """Seal what is committed, and note each checkpoint that was acknowledged."""
    from django.db import Error, connection

    from governance.models import Checkpoint
    from governance.services import ledger

    stop, failures = file.with_suffix(".stop"), 0
    with file.open("a") as notes:
        while not stop.exists():
            try:
                if ledger.seal():
                    mark = Checkpoint.objects.order_by("-size")[0]
                    notes.write(f"{mark.size} {bytes(mark.root).hex()}\n")
                    notes.flush()
            except Error:
                failures += 1
                connection.close()
            time.sleep(0.05)
    return {"failures": failures}


def _lines(files) -> list[list[str]]:
    return [line.split() for file in files for line in file.read_text().splitlines()]


def audit(folder: Path) -> dict:
    """Return how much was acknowledged, and what of it is not there or does not fit together. All empty means none."""
    from governance.models import Checkpoint, LedgerEntry
    from governance.services import ledger
    from projects.models import StrategicGoal

    written = [(int(row), int(entry)) for row, entry in _lines(sorted(folder.glob("writer-*.txt")))]
    sealed = [(int(size), root) for size, root in _lines(sorted(folder.glob("sealer.txt")))]
    rows = set(StrategicGoal.objects.values_list("pk", flat=True))
    told = dict(LedgerEntry.objects.filter(subject_type="projects.strategicgoal").values_list("pk", "subject_id"))
    marks = {size: bytes(root).hex() for size, root in Checkpoint.objects.values_list("size", "root")}
    while ledger.seal():
        pass
    report = ledger.verify()
    return {
        "acknowledged": len(written),
        "checkpoints": len(sealed),
        "entries": LedgerEntry.objects.count(),
        "verified": report.size,
        "found": {
            "lost rows": [row for row, _entry in written if row not in rows],
            "lost entries": [entry for row, entry in written if told.get(entry) != str(row)],
            "rows without an entry": sorted(rows - {int(row) for row in told.values()}),
            "entries without a row": sorted(entry for entry, row in told.items() if int(row) not in rows),
            "lost checkpoints": [size for size, root in sealed if marks.get(size) != root],
            "unsound": report.problems,
            "unsealed": report.unsealed or [],
        },
    }


def main(arguments: list[str]) -> None:
    """Do one of the four."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")
    django.setup()
    verb, *given = arguments
    if verb == "prepare":
        answer = prepare()
    elif verb == "write":
        answer = write(Path(given[0]), int(given[1]))
    elif verb == "seal":
        answer = seal(Path(given[0]))
    else:
        answer = audit(Path(given[0]))
    print(json.dumps(answer))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(sys.argv[1:])
