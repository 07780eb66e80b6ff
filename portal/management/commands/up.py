"""`manage.py up`: everything Gatehouse is, on one machine, until Ctrl-C."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import OperationalError, connections

from portal import preflight, supervision, welcome
from portal.supervision import Program, Supervisor, plain_environment

READY_SECONDS = 90
ASK_SECONDS = 0.3


class Command(BaseCommand):
    help = "Prepare the folder, the keys and the database, load the worked example, and run every process until Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser):
        """Declare --without-demo."""
        parser.add_argument("--without-demo", action="store_true", help="start without the worked example")

    def handle(self, *, without_demo: bool, **_):
        """Run until SIGINT, SIGTERM or SIGHUP."""
        for name in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.default_int_handler)
        try:
            self._run(without_demo)
        except preflight.NotReady as reason:
            self.stderr.write(str(reason))
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            self.stderr.write("Stopped before everything was started.")
            raise SystemExit(130) from None

    def _run(self, without_demo: bool) -> None:
        var = settings.VAR
        preflight.check_packages(settings.BASE_DIR / "requirements.txt")
        preflight.make_folders(var)
        preflight.check_space(var)
        address = f"http://{_for_a_browser(settings.HOST)}:{settings.PORT}"
        lock = preflight.lock(var, address)
        preflight.check_address(settings.HOST, settings.PORT)
        if not settings.ENGINE_TOKEN_FILE.exists():
            _write_secret(settings.ENGINE_TOKEN_FILE)
        key_file = var / "secret.key"
        if not (os.environ.get("SECRET_KEY") or os.environ.get("SECRET_KEY_FILE") or key_file.exists()):
            _write_secret(key_file)
            # The settings of this process were read before the key was there: begin again with it.
            lock.close()
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
        self._prepare(var, without_demo)

        wanted = programs(with_example=not without_demo)
        supervisor = Supervisor(wanted, folder=settings.BASE_DIR, log_folder=var / "log", say=self._say)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, supervisor.ask_to_stop)
        self._say("Starting " + ", ".join(program.name for program in wanted) + ".")
        supervisor.start()
        try:
            self._until_stopped(supervisor, address)
        finally:
            self._say("Stopping. A training job that is running goes on from its last checkpoint at the next start.")
            for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(name, signal.SIG_IGN)
            supervisor.stop()
            lock.close()
        if not supervisor.stopping:
            raise preflight.NotReady(f"No process could be kept running; their logs are in {var / 'log'}.")

    def _prepare(self, var: Path, without_demo: bool) -> None:
        call_command("check", fail_level="ERROR", stdout=io.StringIO())
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            raise preflight.NotReady(
                f"The database did not answer ({str(error).strip().splitlines()[0]}); check DATABASE_URL "
                "and whether the server runs."
            ) from error
        call_command("seal_ledger", ensure_key=True, stdout=io.StringIO())
        _collect_static()
        connections.close_all()
        if without_demo:
            return
        command = [sys.executable, "manage.py", "demo", *(["--links"] if welcome.are_open() else [])]
        # In a process of its own: what it loads to read the example does not stay in the supervisor's memory.
        if supervision.run(command, folder=settings.BASE_DIR) != 0:
            raise preflight.NotReady(
                "The worked example could not be loaded (see above); to start without it: "
                "python manage.py up --without-demo"
            )

    def _until_stopped(self, supervisor: Supervisor, address: str) -> None:
        deadline: float | None = time.monotonic() + READY_SECONDS
        ask_at = 0.0
        while not supervisor.stopping and supervisor.anything_left:
            supervisor.watch()
            if deadline is not None and time.monotonic() > ask_at:
                ask_at = time.monotonic() + ASK_SECONDS
                ready, answer = _ask_ready(address)
                if ready:
                    deadline = None
                    self._say(
                        f"\nGatehouse {settings.GATEHOUSE_VERSION} is ready: {address}\n"
                        f"Stop it with Ctrl-C. Logs are in {settings.VAR / 'log'}\n"
                    )
                elif time.monotonic() > deadline:
                    deadline = None
                    self._say(
                        f"Gatehouse is not ready after {READY_SECONDS} seconds ({answer}); the logs in "
                        f"{settings.VAR / 'log'} say more. It keeps trying; stop it with Ctrl-C."
                    )
            time.sleep(0.1)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def programs(*, with_example: bool = False) -> list[Program]:
    """The processes of one machine, each with the environment that it needs and no more."""
    common = {"DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    ours = {"GATEHOUSE_VAR": str(settings.VAR), "HOST": settings.HOST, "PORT": str(settings.PORT)}
    site = {**plain_environment(os.environ, setting_names()), **common, **ours}
    # The engine loads models that others made: it gets no database, no broker and no key.
    bare = {
        **plain_environment(os.environ),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    manage = (sys.executable, str(settings.BASE_DIR / "manage.py"))

    def worker(queue: str) -> Program:
        command = (sys.executable, "-m", "celery", "--app", "portal", "worker", "--queues", queue, "--concurrency", "1")
        command += ("--pool", "prefork", "--hostname", f"{queue}@%h", "--loglevel", "INFO")
        return Program(queue, (*command, "--without-mingle", "--without-gossip", "--without-heartbeat"), site)

    web = (
        sys.executable,
        "-m",
        "uvicorn",
        "portal.asgi:application",
        "--host",
        settings.HOST,
        "--port",
        str(settings.PORT),
    )
    # Event streams stay open for hours: without a limit, stopping would wait for every open page.
    web += ("--lifespan", "off", "--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "3")
    engine = (sys.executable, "-m", "training.engine.serve", "--socket", str(settings.ENGINE_SOCKET))
    engine += ("--token-file", str(settings.ENGINE_TOKEN_FILE), "--memory-mb", str(settings.ENGINE_MEMORY_MB))
    # Publishes the worked example's model when its training is done, and ends.
    example = [Program("example", (*manage, "demo", "--follow"), site, once=True)] if with_example else []
    return [
        Program("web", web, site),
        worker("training"),
        worker("data"),
        Program("scheduler", (*manage, "scheduler"), site),
        Program("sequencer", (*manage, "seal_ledger", "--watch"), site),
        Program("engine", engine, bare),
        *example,
    ]


def setting_names() -> list[str]:
    """The environment variables that the settings read, in their order: the settings file is the list."""
    source = (settings.BASE_DIR / "portal" / "settings.py").read_text()
    return list(dict.fromkeys(re.findall(r'\benv\w*\(\s*"([A-Z_]+)"', source)))


def _write_secret(path: Path) -> None:
    """Write 64 random bytes, as text, into a new file that this user alone may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as target:
        target.write(secrets.token_urlsafe(64) + "\n")


def _collect_static() -> None:
    """Collect static files when any of them changed since the last time; compressing them takes seconds."""
    if settings.DEBUG:
        return
    from django.contrib.staticfiles.finders import get_finders

    fingerprint = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            modified = storage.get_modified_time(path).timestamp()
            fingerprint.update(f"{path}\0{storage.size(path)}\0{modified}\n".encode())
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    if stamp.exists() and stamp.read_text() == fingerprint.hexdigest():
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(fingerprint.hexdigest())


def _for_a_browser(host: str) -> str:
    """The host to write into an address: this machine's own for "every address", brackets around IPv6."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared with, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _ask_ready(address: str) -> tuple[bool, str]:
    """Whether /readyz says yes, and otherwise what it says."""
    # Asked as the proxy in front would ask: with a host name that is allowed, and over HTTPS where that is demanded.
    named = next((host.lstrip(".") for host in settings.ALLOWED_HOSTS if "*" not in host), "localhost")
    headers = {"Host": named, "X-Forwarded-Proto": "https" if settings.HTTPS else "http"}
    request = urllib.request.Request(f"{address}/readyz", headers=headers)  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return answer.status == 200, ""
    except urllib.error.HTTPError as error:
        with error:
            page = "html" in error.headers.get_content_type()
            return (
                False,
                f"{error.code}" if page else f"{error.code}: {error.read(300).decode(errors='replace').strip()}",
            )
    except OSError as error:
        return False, f"no answer: {error}"
