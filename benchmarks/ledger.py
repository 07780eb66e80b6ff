"""What the ledger costs a writer, how soon an entry is sealed, and how fast everything is verified and proved.

    python -m benchmarks.ledger                SQLite, 1 and 8 writers
    python -m benchmarks.ledger --postgres     PostgreSQL with fsync, 8 and 32 writers (the binaries that the tests use)

Writers are processes that commit small transactions as fast as they can: a business row alone, the same with a plain
audit row (what most software keeps), and the same with an entry of the ledger, the sequencer running beside it. Rounds
of the three take turns, so that other work on the machine meets all of them. Then a ledger is filled and sealed, and
the site's verification, an export and the stand-alone verifier are timed on it, with proofs. The last column of each
line is the goal, where there is one. Nothing is written outside of a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KINDS = ("alone", "audit", "ledger")


def main() -> None:
    """Prepare a database, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each kind")
    parser.add_argument("--writers", type=int, nargs="*", help="numbers of writers")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries that are verified; 0 leaves it out")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        var = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-ledger-")))
        url = f"sqlite:///{var / 'ledger.sqlite3'}"
        if options.postgres:
            from tests.rig import postgres

            server = postgres.Server(durable=True)
            stack.callback(server.close)
            url = server.url
        os.environ |= {
            "GATEHOUSE_VAR": str(var),
            "DATABASE_URL": url,
            "SECRET_KEY": "a key for this benchmark alone, thrown away with it",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        from governance.services import ledger

        call_command("migrate", verbosity=0, interactive=False)
        ledger.ensure_key()
        with connection.cursor() as cursor:
            for name in ("bench_business", "bench_audit"):
                identity = "BIGSERIAL" if options.postgres else "INTEGER"
                cursor.execute(f"CREATE TABLE {name} (id {identity} PRIMARY KEY, at TIMESTAMP, who BIGINT, what TEXT)")
        print(f"{'PostgreSQL' if options.postgres else 'SQLite'}; load of the machine {os.getloadavg()[0]:.1f}")
        for writers in options.writers or ((8, 32) if options.postgres else (1, 8)):
            _writers(writers, options)
        _delay()
        if options.entries:
            _verification(options.entries, var)


# What a writer pays


def _writers(writers: int, options) -> None:
    from django.db import connection

    connection.close()
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _round in range(options.rounds):
        for kind in KINDS:
            rates[kind].append(_round_of(kind, writers, options.seconds))
    rate = {kind: statistics.median(found) for kind, found in rates.items()}
    print(f"\n{writers} writers, transactions a second (median of {options.rounds} rounds of {options.seconds:g} s)")
    print(f"  business row alone           {rate['alone']:8,.0f}")
    print(f"  with a plain audit row       {rate['audit']:8,.0f}   {rate['audit'] / rate['alone']:6.1%} of it alone")
    print(f"  with an entry of the ledger  {rate['ledger']:8,.0f}   {rate['ledger'] / rate['alone']:6.1%} of it alone")
    cost = 1 - rate["ledger"] / rate["audit"]
    print(f"  cost beside a plain audit row {cost:7.1%}   goal: at most 25 % at 32 writers on PostgreSQL")


def _round_of(kind: str, writers: int, seconds: float) -> float:
    context = multiprocessing.get_context("fork")
    begin, stop, results = context.Barrier(writers + 1), context.Event(), context.Queue()
    sequencer = context.Process(target=_sequence, args=(stop,)) if kind == "ledger" else None
    crew = [context.Process(target=_write, args=(kind, n, seconds, begin, results)) for n in range(writers)]
    for process in (*crew, *([sequencer] if sequencer else [])):
        process.start()
    begin.wait()
    total = sum(results.get() for _ in crew)
    for process in crew:
        process.join()
    stop.set()
    if sequencer is not None:
        sequencer.join()
    return total / seconds


def _write(kind: str, number: int, seconds: float, begin, results) -> None:
    from django.db import connection, transaction
    from django.utils import timezone

    from governance.actions import Action
    from governance.models import User
    from governance.services import ledger

    actor = User.objects.system()
    statement = "INSERT INTO bench_{} (at, who, what) VALUES (%s, %s, %s)"
    details = {"changed": {"stage": {"before": "draft", "after": "submitted"}, "version": {"before": 1, "after": 2}}}
    begin.wait()
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(statement.format("business"), [timezone.now(), number, "a change"])
                if kind == "audit":
                    cursor.execute(statement.format("audit"), [timezone.now(), number, str(details)])
            if kind == "ledger":
                ledger.record(Action.USE_CASE_CHANGED, actor=actor, subject=actor, details=details)
        done += 1
    connection.close()
    results.put(done)


def _sequence(stop) -> None:
    from governance.services import ledger

    while not stop.is_set():
        ledger.seal()
        stop.wait(0.5)
    # What is left would otherwise wait for the next round and be counted as waiting.
    while ledger.seal():
        pass


def _delay() -> None:
    """Print how long entries waited for their checkpoint while the writers wrote."""
    from governance.models import Checkpoint, LedgerEntry
    from governance.services import ledger

    while ledger.seal():
        pass
    marks = list(Checkpoint.objects.order_by("size").values_list("size", "at"))
    waits, place = [], 0
    rows = LedgerEntry.objects.order_by("sealed__number").values_list("sealed__number", "at")
    for number, at in rows[: max(0, rows.count() - 1)].iterator(chunk_size=5000):
        while marks[place][0] <= number:
            place += 1
        waits.append((marks[place][1] - at).total_seconds())
    waits.sort()
    p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    print(
        f"\nfrom entry to signed checkpoint, {len(waits):,} entries: p50 {p50:.2f} s, p99 {p99:.2f} s   goal: p99 2 s"
    )


# Verification and proofs


def _verification(entries: int, var: Path) -> None:
    from django.db import connection

    from governance.models import Checkpoint, LedgerEntry, User
    from governance.services import ledger

    started = time.monotonic()
    _fill(entries)
    filled = time.monotonic()
    while ledger.seal():
        pass
    sealed = time.monotonic()
    size, marks = Checkpoint.objects.first().size, Checkpoint.objects.count()
    print(f"\na ledger of {size:,} entries and {marks:,} checkpoints, filled in {filled - started:.0f} s", end="")
    print(f", sealed in {sealed - filled:.0f} s ({entries / (sealed - filled):,.0f} entries a second)")
    begun, worked = time.monotonic(), time.process_time()
    report = ledger.verify()
    assert report.sound, report.problems
    cpu = time.process_time() - worked
    print(f"  verify(), the site's own     {time.monotonic() - begun:6.1f} s ({cpu:.1f} s of processor)   goal: 60 s")
    path = var / "export.zip"
    begun = time.monotonic()
    with path.open("wb") as file:
        for piece in ledger.pieces(ledger.begin(actor=User.objects.system(), texts=True)):
            file.write(piece)
    print(f"  export                       {time.monotonic() - begun:6.1f} s, {path.stat().st_size / 2**20:,.0f} MiB")
    begun, before = time.monotonic(), os.times()
    from governance.proofs import verify

    done = subprocess.run(
        [sys.executable, "-I", "-S", verify.__file__, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cpu = os.times().children_user - before.children_user
    print(f"  verify.py on the export      {time.monotonic() - begun:6.1f} s ({cpu:.1f} s of processor)   goal: 60 s")
    chance, times = random.Random(7), []
    chosen = LedgerEntry.objects.filter(sealed__number__in=[chance.randrange(size) for _ in range(200)])
    connection.force_debug_cursor = True
    before_queries = len(connection.queries)
    for entry in chosen.select_related("sealed"):
        begun = time.perf_counter()
        ledger.inclusion(entry)
        times.append((time.perf_counter() - begun) * 1000)
    queries = (len(connection.queries) - before_queries - 1) / len(times)
    times.sort()
    p50, p99 = times[len(times) // 2], times[-2]
    print(f"  an inclusion proof           p50 {p50:.1f} ms, p99 {p99:.1f} ms, {queries:.1f} queries")
    begun = time.perf_counter()
    ledger.consistency(old=size // 3)
    print(f"  a consistency proof          {(time.perf_counter() - begun) * 1000:.1f} ms")


def _fill(entries: int) -> None:
    """Write entries as `record` writes them, in bulk; they wait for their numbers as any other."""
    from datetime import timedelta

    from django.db import connection
    from django.utils import timezone

    from benchmarks.pages import _insert
    from governance.models import User
    from governance.proofs import canonical, merkle

    actor, now = User.objects.system(), timezone.now()
    fields = "at action actor_id subject_type subject_id subject_digest scope_id request_id canonical leaf_hash"
    for start in range(0, entries, 50_000):
        rows = []
        for n in range(start, min(start + 50_000, entries)):
            at = now + timedelta(milliseconds=n)
            data = canonical.encode(
                {"v": 1, "at": at, "action": "use_case.changed", "actor": str(actor.ledger_id), "on_behalf_of": None,
                 "subject": {"type": "projects.usecase", "id": str(n), "digest": ""}, "scope": 1,
                 "request": f"{n:032x}", "details": {"changed": {"version": {"before": 1, "after": 2}}}, "texts": {},
                 "nonce": f"{n:016x}"}
            )  # fmt: skip
            rows.append(
                (at, "use_case.changed", actor.pk, "projects.usecase", str(n), "", 1, f"{n:032x}", data,
                 merkle.leaf_hash(data))
            )  # fmt: skip
        _insert("governance_ledgerentry", fields, rows)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


if __name__ == "__main__":
    main()
