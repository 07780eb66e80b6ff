"""How fast the pages answer at 100,000 use cases and 1,000,000 ledger entries, with ten clients.

    python -m benchmarks.pages                 SQLite
    python -m benchmarks.pages --postgres      PostgreSQL (the binaries that the tests use)

It fills a database of its own in a temporary folder, starts the real server (two WSGI workers), and lets ten
clients ask for pages at a bounded pace. For each page it prints the queries, p50 and p95 of the server's own time, and
p50 of the processor time that it spent (both from the `Server-Timing` header; on a machine that does other work, the
processor time is the figure that says something about this site). The last column compares with something real in the
same run: the same rows fetched by one plain SQL statement with OFFSET, at the same depth, through the same database.
Nothing is written outside the temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 10
GOALS = {"list": 50, "detail": 50, "ledger": 50, "search": 100, "dashboard": 150}


def main() -> None:
    """Fill, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--server", choices=["wsgi", "asgi"], default="wsgi")
    parser.add_argument("--use-cases", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=300, help="requests for each page")
    parser.add_argument("--pace", type=float, default=2.0, help="requests a second of each client")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        var = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-pages-")))
        url = f"sqlite:///{var / 'pages.sqlite3'}"
        if options.postgres:
            from tests.rig import postgres

            server = postgres.Server()
            stack.callback(server.close)
            url = server.url
        os.environ |= {
            "GATEHOUSE_VAR": str(var),
            "DATABASE_URL": url,
            "SECRET_KEY": "a key for this benchmark alone, thrown away with it",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "API_RATE": "1000000/min",
            "SERVER_TIMING": "true",
        }
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        filled = time.monotonic()
        people = _fill(options.use_cases, options.entries)
        print(
            f"{'PostgreSQL' if options.postgres else 'SQLite'}: {options.use_cases:,} use cases and "
            f"{options.entries:,} ledger entries, filled in {time.monotonic() - filled:.0f} s; {CLIENTS} clients at "
            f"{options.pace:g} requests a second each; load of the machine {os.getloadavg()[0]:.1f}"
        )
        port = _free_port()
        process = subprocess.Popen(_server(options.server, port), cwd=ROOT, env=os.environ)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        _wait(port)
        _measure(port, people, options)


def _server(kind: str, port: int) -> list[str]:
    """Return the command that serves the site as deploy/ does: pages by WSGI workers, or all by one ASGI process."""
    if kind == "asgi":
        return [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(port), "--no-access-log",
                "--lifespan", "off", "--log-level", "error"]  # fmt: skip
    os.environ["CONN_MAX_AGE"] = "60"
    return [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "2", "--blocking-threads", "1",
            "--port", str(port), "--no-access-log", "--log-level", "error", "portal.wsgi:application"]  # fmt: skip


def _fill(use_cases: int, entries: int) -> dict[str, str]:
    """Fill the database; PostgreSQL takes rows of governed tables only in the transaction of entries, which it makes.

    SQLite has no such guard, and in one long transaction each of its statements costs more than the one before.
    """
    from django.db import connection, transaction

    with transaction.atomic() if connection.vendor == "postgresql" else contextlib.nullcontext():
        return _filled(use_cases, entries)


def _filled(use_cases: int, entries: int) -> dict[str, str]:
    """Make people, teams, use cases and sealed ledger entries in bulk; return a session key for each kind of reader."""
    from datetime import timedelta

    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import connection
    from django.utils import timezone

    from governance.models import User
    from governance.models.words import fold
    from governance.policy import Role
    from governance.proofs import canonical, merkle
    from governance.services import roles
    from projects.models import UseCase
    from projects.services import teams

    system = User.objects.system()
    made = [teams.create(actor=system, slug=f"team-{n}", name=f"Team {n}", description="") for n in range(200)]
    readers = {}
    for name, role, team in (("owner", Role.TEAM_OWNER, made[0]), ("auditor", Role.AUDITOR, None)):
        user = User.objects.create_user(f"{name}@example.org", "not used: sessions are made directly", name=name)
        roles.grant(actor=system, user=user, role=Role.EMPLOYEE)
        roles.grant(actor=system, user=user, role=role, team=team)
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        readers[name] = session.session_key
    owner = User.objects.get(email="owner@example.org")
    words = ["route", "sort", "answer", "find", "check", "plan", "order", "invoice", "contract", "claim", "ticket"]
    words += ["letter", "delay", "stock", "price"]
    chance = random.Random(7)
    now = timezone.now()
    people = User.objects.bulk_create(User(email=f"person{n}@example.org", name=f"Person {n}") for n in range(1000))
    stages = ["draft", "submitted", "approved", "live"]
    cases = []
    for n in range(use_cases):
        title = " ".join(chance.choices(words, k=4))
        at = now - timedelta(seconds=n * 60)
        # The owner of a team proposed a hundredth of what there is, everybody else a share of the rest.
        person = owner if n % 100 == 0 else people[n % 1000]
        cases.append(
            (made[n % len(made)].pk, f"{title} {n}", f"{title} " * 3, "All", "Faster", "", "", person.pk, person.pk,
             chance.choice(stages), 1, at, at, " ".join(fold(f"{title} {n}")))
        )  # fmt: skip
    fields = "team_id title problem people benefit data_needed human_oversight proposer_id owner_id stage version"
    _insert("projects_usecase", f"{fields} created_at changed_at words", cases)
    actor = User.objects.get(email="auditor@example.org")
    first_case = UseCase.objects.order_by("pk").first().pk
    fields = "at action actor_id subject_type subject_id subject_digest scope_id request_id canonical leaf_hash"
    for start in range(0, entries, 50_000):
        rows = []
        for n in range(start, min(start + 50_000, entries)):
            at = now - timedelta(seconds=(entries - n) * 2)
            team, subject = made[n % len(made)].pk, str(first_case + n % use_cases)
            data = canonical.encode(
                {"v": 1, "at": at, "action": "use_case.changed", "actor": str(actor.ledger_id), "on_behalf_of": None,
                 "subject": {"type": "projects.usecase", "id": subject, "digest": ""}, "scope": team,
                 "request": "", "details": {"changed": {"version": {"before": 1, "after": 2}}}, "texts": {},
                 "nonce": str(n)}
            )  # fmt: skip
            rows.append(
                (at, "use_case.changed", actor.pk, "projects.usecase", subject, "", team, "", data,
                 merkle.leaf_hash(data))
            )  # fmt: skip
        _insert("governance_ledgerentry", fields, rows)
    with connection.cursor() as cursor:
        # What the sequencer does an entry at a time: number them in their order.
        cursor.execute("DELETE FROM governance_pendingentry")
        cursor.execute(
            "INSERT INTO governance_sealedentry (number, entry_id) "
            "SELECT row_number() OVER (ORDER BY id) - 1, id FROM governance_ledgerentry"
        )
        cursor.execute("ANALYZE")
    return readers


def _insert(table: str, fields: str, rows: list[tuple]) -> None:
    """Insert rows in bulk, by the fastest way that the database has; models would take five times as long."""
    from django.db import connection, transaction

    names = ", ".join(fields.split())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(fields.split()))
    plain = [
        tuple(f"{value:%Y-%m-%d %H:%M:%S.%f}" if hasattr(value, "year") else value for value in row) for row in rows
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        # Through the driver itself: the framework's cursor rewrites every statement's marks.
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own words
        cursor.cursor.connection.executemany(statement, plain)


def _pages(port: int, readers: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Return (kind, label, reader, path); a deep page is reached by a cursor made as the page itself makes it."""
    from governance.interfaces import paging
    from governance.models import LedgerEntry
    from projects.models import UseCase

    def cursor(row, *names):
        return paging.encode([getattr(row, name) for name in names], "n")

    cases = UseCase.objects.count()
    deep_case = UseCase.objects.order_by("-changed_at", "-id")[int(cases * 0.9)]
    deep_entry = LedgerEntry.objects.order_by("pk")[int(LedgerEntry.objects.count() * 0.1)]
    return [
        ("list", "use cases, first page", "auditor", "/use-cases/"),
        ("list", "use cases, at 90 %", "auditor", f"/use-cases/?cursor={cursor(deep_case, 'changed_at', 'id')}"),
        ("list", "use cases of one team", "owner", "/use-cases/"),
        ("list", "use cases, API", "auditor", "/api/v1/use-cases/"),
        ("detail", "one use case", "auditor", f"/use-cases/{deep_case.pk}/"),
        ("ledger", "ledger, newest", "auditor", "/ledger/"),
        ("ledger", "ledger, at 90 %", "auditor", f"/ledger/?cursor={cursor(deep_entry, 'at', 'id')}"),
        ("search", "search, two words", "auditor", "/search/?q=invoice+delay"),
        ("search", "use cases by a word", "auditor", "/use-cases/?q=contract"),
        ("dashboard", "home", "owner", "/"),
        ("dashboard", "home of an auditor", "auditor", "/"),
    ]


def _measure(port: int, readers: dict[str, str], options) -> None:
    print(f"{'page':<26}{'queries':>8}{'p50 ms':>9}{'p95 ms':>9}{'goal':>7}{'':>7}{'CPU ms':>8}  against plain OFFSET")
    missed = 0
    for kind, label, reader, path in _pages(port, readers):
        times, processor, queries = _ask(port, readers[reader], path, options.requests, options.pace)
        p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[18]
        verdict = "ok" if p95 <= GOALS[kind] else "MISSED"
        missed += verdict != "ok"
        ratio = _offset_ratio(label, p50)
        cpu = statistics.median(processor)
        print(
            f"{label:<26}{queries:>8}{p50:>9.1f}{p95:>9.1f}{GOALS[kind]:>7}{verdict:>7}{cpu:>8.1f}  {ratio}", flush=True
        )
    print("Every page is within its goal." if not missed else f"{missed} pages are over their goal.")


def _offset_ratio(label: str, page_ms: float) -> str:
    """Return how the page compares with fetching its rows by OFFSET, for the two deep pages."""
    from django.db import connection

    table = {
        "use cases, at 90 %": "SELECT id, title FROM projects_usecase ORDER BY changed_at DESC, id DESC",
        "ledger, at 90 %": "SELECT id, action FROM governance_ledgerentry ORDER BY at DESC, id DESC",
    }.get(label)
    if table is None:
        return ""
    total_sql = table.split(" ORDER")[0].replace("id, title", "count(*)").replace("id, action", "count(*)")
    timings = []
    with connection.cursor() as cursor:
        cursor.execute(total_sql)
        offset = int(cursor.fetchone()[0] * 0.9)
        for _ in range(5):
            begun = time.perf_counter()
            cursor.execute(f"{table} LIMIT 50 OFFSET {offset}")
            cursor.fetchall()
            timings.append((time.perf_counter() - begun) * 1000)
    plain = statistics.median(timings)
    return f"{plain / page_ms:.1f} x faster than {plain:.0f} ms"


def _ask(port: int, session: str, path: str, requests: int, pace: float) -> tuple[list[float], list[float], str]:
    """Return the server's own times and its processor times in ms, and the queries of one request."""
    times: list[float] = []
    processor: list[float] = []
    queries = "?"
    lock = threading.Lock()

    def client(number: int) -> None:
        nonlocal queries
        chance = random.Random(number)
        for _ in range(max(1, requests // CLIENTS)):
            begun = time.monotonic()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", headers={"Cookie": f"sessionid={session}"}
            )
            with urllib.request.urlopen(request) as answer:
                answer.read()
                if answer.geturl().count("/account/login"):
                    raise SystemExit(f"{path}: the session was not accepted")
                timing = answer.headers.get("Server-Timing", "")
            found = dict(re.findall(r"(\w+);(?:dur|desc)=\"?([\d.]+)", timing))
            with lock:
                times.append(float(found["app"]))
                processor.append(float(found["cpu"]))
                queries = found.get("db", "?")
            time.sleep(max(0.0, chance.uniform(0.5, 1.5) / pace - (time.monotonic() - begun)))

    client(0)
    times.clear()
    processor.clear()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, processor, queries


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz"):
            return
        time.sleep(0.1)
    raise SystemExit("The server did not start.")


if __name__ == "__main__":
    main()
