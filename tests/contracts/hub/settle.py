"""Fills the site that the clients meet with models published, waiting and foreign, and with data; run as a module.

Prints, as its last line, what the tests need to know. It must not import pytest: see tests.rig.settle.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import sys
from pathlib import Path

import django


def settle(folder: Path) -> dict:
    """Create everything through the services and return tokens, commits and the numbers of publications."""
    from django.core.management import call_command
    from django.utils import timezone

    from governance.models import User
    from governance.policy import Permission, Role
    from governance.services import people, roles, tokens
    from projects.models import Repository
    from projects.services import repositories, teams
    from tests import factories
    from tests.access.world import REPORT, SHA
    from tests.contracts.hub import material
    from tests.training.factories import make_tiny_model
    from training.models import Evaluation, ModelVersion, Publication, RegisteredModel, TrainingJob
    from training.services import base_models, jobs, registry

    call_command("seal_ledger", ensure_key=True, verbosity=0)
    system = User.objects.system()
    users = {
        name: people.create(
            actor=system, email=f"{name}@example.org", name=name.capitalize(), password="correct-horse-9"
        )
        for name in ("alice", "bob", "carol", "dan", "eve", "frank")
    }
    for name, role in (("carol", Role.REVIEWER), ("dan", Role.AUDITOR), ("frank", Role.ADMINISTRATOR)):
        roles.grant(actor=system, user=users[name], role=role)
    helpdesk = teams.create(actor=system, slug="helpdesk", name="Help desk")
    finance = teams.create(actor=system, slug="finance", name="Finance")
    for team, name, role in (
        (helpdesk, "alice", Role.TEAM_OWNER),
        (finance, "alice", Role.TEAM_OWNER),
        (helpdesk, "bob", Role.ML_ENGINEER),
        (helpdesk, "bob", Role.DATA_STEWARD),
    ):
        roles.grant(actor=system, user=users[name], role=role, team=team)
    # Rights are remembered on the object that asked for them.
    users = {name: User.objects.get(pk=user.pk) for name, user in users.items()}
    alice, carol, frank = (users[name] for name in ("alice", "carol", "frank"))

    def base(name: str, source: Path, *, allowed: bool = True):
        model = base_models.import_folder(
            actor=frank, folder=source, name=name, title=name, licence="Apache-2.0", origin="Random weights."
        )
        return base_models.allow(actor=carol, base_model=model, reason="Harmless.") if allowed else model

    encoder = base("tiny-bert", make_tiny_model(folder / "bert"))
    llama = base("tiny-llama", material.make_llama(folder / "llama"))
    base("waiting-bert", make_tiny_model(folder / "waiting", seed=3), allowed=False)

    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=helpdesk)
    dataset = factories.make_dataset(actor=alice, team=helpdesk, name="requests")
    data = factories.make_cleared_version(actor=alice, reviewer=carol, dataset=dataset, use_case=use_case)
    factories.make_version(actor=alice, dataset=dataset, rows=factories.make_rows(each=12))
    private = factories.make_dataset(actor=alice, team=finance, name="invoices")
    factories.make_version(actor=alice, dataset=private)
    for permission in (Permission.DATASET_VIEW, Permission.DATASET_DOWNLOAD):
        until = timezone.now() + datetime.timedelta(days=9)
        roles.share(
            actor=alice, user=users["eve"], permission=permission, subject=dataset, purpose="Test", expires_at=until
        )

    seeds = iter(range(1, 100))

    def register(
        name: str, *contents: dict[str, bytes | Path], task: str = "text-classification", on=encoder, team=helpdesk
    ):
        # As workers leave them; training has its own tests.
        repository = repositories.create(actor=alice, kind=Repository.Kind.MODEL, team=team, name=name)
        model = RegisteredModel.objects.create(
            team=team, name=name, title=name, use_case=use_case, task=task, repository=repository, created_by=alice
        )
        made = []
        for number, content in enumerate(contents, 1):
            job = jobs.submit(
                actor=alice, use_case=use_case, dataset_version=data, base_model=encoder, model_name=f"{name}-{number}",
                method="lora", preset="quick", seed=next(seeds), baselines=["majority"],
            )  # fmt: skip
            TrainingJob.objects.filter(pk=job.pk).update(state="succeeded", finished_at=timezone.now())
            Evaluation.objects.create(job=job, digest=SHA, report=REPORT, accuracy=0.8, macro_f1=0.8, test_rows=6)
            files = {"README.md": f"---\nlicense: apache-2.0\n---\n\n# {name} {number}\n".encode(), **content}
            commit = repositories.commit(
                actor=alice, repository=repository, message=f"Version {number}",
                files={path: repositories.store_blob(value) for path, value in files.items()},
            )  # fmt: skip
            made.append(
                ModelVersion.objects.create(
                    model=model,
                    number=number,
                    commit=commit,
                    job=job,
                    use_case=use_case,
                    dataset_version=data,
                    base_model=on,
                    spec_digest=SHA,
                    evaluation_digest=SHA,
                    labels=REPORT["classes"],
                    size=1000,
                )
            )
        return made

    def publish(version, audience: str = "organisation", alias: str = "champion") -> Publication:
        asked = registry.request_publication(
            actor=alice, version=version, audience=audience, alias=alias, intended_use="Suggest a queue."
        )
        factories.approve(reviewer=carol, subject=asked.subject, gate=factories.Gate.MODEL_PUBLICATION)
        return Publication.objects.get(pk=asked.object_id)

    def everything(place: Path) -> dict[str, Path]:
        return {path.relative_to(place).as_posix(): path for path in sorted(place.rglob("*")) if path.is_file()}

    noise = random.Random(9)
    weights = everything(folder / "bert")
    large = {"onnx/model.onnx": noise.randbytes(12_000_000), "onnx/elsewhere.onnx": noise.randbytes(3_500_000)}
    adapter = material.make_adapter(folder / "adapter", base="base/tiny-llama", revision=llama.commit.oid)
    first, second = register("sorter", {**weights, **large}, weights)
    (writer,) = register("writer", everything(adapter), task="text-generation", on=llama)
    (ours,) = register("ours", weights)
    register("waiting", weights)
    (stopped,) = register("stopped", weights)
    (doomed,) = register("doomed", weights)
    (foreign,) = register("payroll", weights, team=finance)
    publications = {
        "sorter": publish(first),
        "challenger": publish(second, "team", "challenger"),
        "writer": publish(writer),
        "ours": publish(ours, "team"),
        "stopped": publish(stopped),
        "doomed": publish(doomed),
        "payroll": publish(foreign, "team"),
    }
    registry.suspend(actor=carol, publication=publications["stopped"], reason="It answers rudely.")

    def token(name: str, *scopes: str, team=None) -> str:
        user = User.objects.get(pk=users[name].pk)
        return tokens.create(actor=system, user=user, name="laptop", scopes=list(scopes), days=1, team=team)[1]

    both = ("read", "predict")
    return {
        "tokens": {
            **{name: token(name, *both) for name in ("bob", "dan", "eve")},
            "alice": token("alice", "read", "predict", "write"),
            "carol": token("carol", "read", "review", "write"),
            "bob, read only": token("bob", "read"),
            "eve, read only": token("eve", "read"),
            "alice, training only": token("alice", "train"),
            "alice, finance only": token("alice", *both, team=finance),
        },
        "commits": {
            "sorter": first.commit.oid,
            "sorter v2": second.commit.oid,
            "stopped": stopped.commit.oid,
            "writer": writer.commit.oid,
            "ours": ours.commit.oid,
            "tiny-llama": llama.commit.oid,
            "requests": data.commit.oid,
        },
        "people": {name: user.pk for name, user in users.items()},
        "publications": {name: row.pk for name, row in publications.items()},
    }


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(json.dumps(settle(Path(os.environ["GATEHOUSE_VAR"]) / "material")) + "\n")
