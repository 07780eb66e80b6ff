"""From a CSV to a published classifier that somebody calls, through the REST API alone, as three people.

Bob builds, Carol reviews, an employee calls. Each step says what it did; the gates that refuse say why. It needs
Python, httpx, a running Gatehouse, and four environment variables:

    GATEHOUSE_URL       where it runs, such as http://127.0.0.1:8000
    BUILDER_TOKEN       of a team's engineer who is also its data steward: scopes read, write, train
    REVIEWER_TOKEN      of a reviewer: scopes read, review
    EMPLOYEE_TOKEN      of any employee: scopes read, predict

    python docs/walkthrough.py --csv requests.csv --text text --label label

docs/walkthrough.md walks the same path in the browser.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from pathlib import Path

import httpx

WAIT_SECONDS = 1.0


class Stopped(Exception):
    """The path ended early; the message says where, why and what to do."""


class Person:
    """One person's side of the API: their token on every call, and problem details turned into sentences."""

    def __init__(self, name: str, url: str, token: str):
        self.name = name
        self._client = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=120
        )

    def call(self, method: str, path: str, **options) -> httpx.Response:
        """Return the answer, whatever its status."""
        return self._client.request(method, path, **options)

    def get(self, path: str, **query) -> dict:
        """Return what is there."""
        return self._expect(self.call("GET", path, params=query)).json()

    def post(self, path: str, body: dict | None = None, **options) -> dict:
        """Do something and return the answer."""
        if "files" not in options:
            options["json"] = body or {}
        return self._expect(self.call("POST", path, **options)).json()

    def patch(self, path: str, body: dict) -> dict:
        """Change something and return it."""
        return self._expect(self.call("PATCH", path, json=body)).json()

    def refused(self, method: str, path: str, body: dict) -> str:
        """Try something that a gate must refuse, and return the reason it gives."""
        answer = self.call(method, path, json=body)
        if answer.status_code not in {403, 404, 409}:
            raise Stopped(f"{method} {path} should have been refused, and answered {answer.status_code}: {answer.text}")
        problem = answer.json()
        return "\n".join(problem.get("missing") or [problem["detail"]])

    def _expect(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        try:
            problem = answer.json()
        except ValueError:
            problem = {"detail": answer.text[:500]}
        lines = [f"{self.name}: {answer.request.method} {answer.request.url.path} answered {answer.status_code}."]
        lines += [str(problem.get("detail") or problem)]
        lines += [f"  - {line}" for line in problem.get("missing") or []]
        lines += [f"  - {name}: {' '.join(map(str, said))}" for name, said in (problem.get("errors") or {}).items()]
        raise Stopped("\n".join(lines))


def say(step: str, *more: str) -> None:
    """Print what was done, and what came of it, indented."""
    print(step, flush=True)
    for text in more:
        for line in text.splitlines():
            print(f"    {line}", flush=True)


def approve(reviewer: Person, request: int, comment: str) -> None:
    """Read what is asked and approve exactly that: If-Match carries the digest of what was read."""
    shown = reviewer.call("GET", f"approvals/{request}/")
    asked = reviewer._expect(shown).json()
    decided = reviewer.post(
        f"approvals/{request}/decide/",
        {"verdict": "approve", "comment": comment},
        headers={"If-Match": shown.headers["ETag"]},
    )
    say(
        f"Carol read {len(asked['material'])} parts of “{asked['subject_label']}” and decided: {decided['state']}.",
        f"bound to the digest {asked['digest'][:16]}…",
    )


def waiting_request(person: Person, subject: str) -> int:
    """Return the id of the open request about a subject, such as projects.usecase:12."""
    found = person.get("approvals/", subject=subject, state="open")["results"]
    if not found:
        raise Stopped(f"No open request about {subject} was found.")
    return found[0]["id"]


def follow_import(builder: Person, address: str) -> dict:
    """Wait until an upload is imported; return the version. Raises Stopped with the reason of a refusal."""
    while True:
        version = builder.get(address)
        if version["state"] == "profiled":
            return version
        if version["state"] == "refused":
            raise Stopped(f"The file was refused: {version['refusal']} {version['advice']}")
        time.sleep(WAIT_SECONDS)


def follow_job(builder: Person, job: int) -> dict:
    """Wait until a job has ended, printing its stages; return it. Raises Stopped where it did not succeed."""
    stage = None
    while True:
        found = builder.get(f"jobs/{job}/")
        if found["state"] == "succeeded":
            return found
        if found["state"] in {"failed", "cancelled"}:
            error = found["error"] or {}
            raise Stopped(f"The job {found['state']}: {error.get('message', '')} {error.get('advice', '')}")
        if found["stage"] != stage:
            stage = found["stage"]
            say(f"  … {stage or found['state']}")
        time.sleep(WAIT_SECONDS)


def walk(builder: Person, reviewer: Person, employee: Person, options: argparse.Namespace) -> str:
    """Go the whole path; return the address of the published model. Raises Stopped."""
    team = builder.get("me/")["roles"]
    teams = {row["id"]: row["slug"] for row in builder.get("teams/")["results"]}
    mine = [teams[role["team"]] for role in team if role["team"] in teams and "job.submit" in role["permissions"]]
    if not mine:
        raise Stopped("The builder is in no team as an engineer or data scientist; ask its owner for that role.")
    slug = options.team or mine[0]
    allowed = builder.get("base-models/", state="allowed")["results"]
    chosen = [row for row in allowed if options.base_model in {"", row["name"]}]
    if not chosen:
        raise Stopped("No such base model is allowed yet: import one and have a reviewer allow it, under Base models.")
    base_model = chosen[0]

    # 1. A use case: five fields propose it, the gate asks for a little more.
    use_case = builder.post(
        "use-cases/",
        {
            "team": slug,
            "title": f"Sort requests ({options.model})",
            "problem": "Requests wait two hours in the wrong queue before somebody forwards them by hand.",
            "people": "Employees who ask for help, and the teams that answer. A wrong queue delays the answer.",
            "benefit": "Nine of ten requests reach the right team at once.",
            "data_needed": f"Past requests with the team that solved them: {options.csv.name}.",
        },
    )
    say(f"Bob proposed use case {use_case['id']}: {use_case['title']}.")
    say(
        "Bob tried to put it before the reviewers as it is. Refused:",
        builder.refused("POST", f"use-cases/{use_case['id']}/submit/", {"note": ""}),
    )
    builder.patch(
        f"use-cases/{use_case['id']}/",
        {
            "human_oversight": "The receiving team sees the suggestion and moves a wrong request with one click.",
            # The tier decides who has to agree: for the lowest one, a single reviewer.
            "risk_tier": "minimal",
            "risk_tier_reason": "A wrong suggestion costs one click, and a person sees every one.",
            "objectives": [
                {
                    "kpi": "Requests that reach the right team first",
                    "baseline": "80",
                    "target": "90",
                    "unit": "%",
                    "direction": "up",
                    "due_on": (datetime.date.today() + datetime.timedelta(days=120)).isoformat(),  # noqa: DTZ011
                }
            ],
        },
    )

    # 2. Data: a dataset is registered once, and each upload is an immutable version of it.
    dataset = builder.post(
        "datasets/",
        {
            "team": slug,
            "name": options.model,
            "title": f"Requests for {options.model}",
            "provenance": f"Uploaded by the walk-through from {options.csv.name}.",
            "licence": "CC0-1.0",
        },
    )
    with options.csv.open("rb") as file:
        version = builder.post(
            f"datasets/{dataset['id']}/versions/",
            files={"file": (options.csv.name, file, "text/csv")},
            data={"text_column": options.text, "label_column": options.label, "seed": "7"},
        )
    version = follow_import(builder, f"datasets/{dataset['id']}/versions/{version['number']}/")
    say(
        f"Bob uploaded {options.csv.name}: {version['rows']} rows, {len(version['labels'])} labels, "
        f"split into {version['split_rows']}.",
        f"commit {version['commit']}",
    )

    # 3. Nothing may be trained yet, and the answer says everything that is missing.
    run = {
        "use_case": use_case["id"],
        "dataset_version": version["id"],
        "base_model": base_model["id"],
        "model_name": options.model,
        "method": "lora",
        "preset": options.preset,
        "overrides": dict(options.set),
    }
    say("Bob tried to train at once. Refused:", builder.refused("POST", "jobs/", run))

    # 4. The first two gates.
    builder.post(f"use-cases/{use_case['id']}/submit/", {"note": "From the walk-through."})
    request = waiting_request(builder, f"projects.usecase:{use_case['id']}")
    own = builder.call("GET", f"approvals/{request}/").headers["ETag"]
    answer = builder.call(
        "POST", f"approvals/{request}/decide/", json={"verdict": "approve"}, headers={"If-Match": own}
    )
    if answer.status_code != 403:
        raise Stopped(f"Bob could decide his own request: {answer.status_code} {answer.text}")
    say("Bob tried to approve his own request. Refused:", answer.json()["detail"])
    approve(reviewer, request, "A person can change every suggestion.")
    asked = builder.post(
        f"datasets/{dataset['id']}/versions/{version['number']}/clearances/",
        {"use_case": use_case["id"], "purpose": "Train, validate and test a classifier of requests."},
    )
    approve(reviewer, asked["id"], "No personal data was found in it.")

    # 5. Train. The dry run says what it will take; the job then runs on a worker, whoever is watching.
    plan = builder.post("jobs/dry-run/", run)
    seconds = plan["seconds"] or {}
    say(f"The dry run: {plan['steps']} steps, about {seconds.get('likely', 0):.0f} seconds, ready: {plan['ready']}.")
    job = builder.post("jobs/", run, headers={"Idempotency-Key": f"walkthrough-{options.model}"})
    say(f"Bob submitted job {job['id']} on {base_model['title']}.")
    job = follow_job(builder, job["id"])
    evaluation = builder.get(f"jobs/{job['id']}/evaluation/")
    say(
        f"It made version {job['version']}: accuracy {evaluation['accuracy']:.3f}, "
        f"macro F1 {evaluation['macro_f1']:.3f} on {evaluation['test_rows']} test rows."
    )

    # 6. Publish. Before the third gate is open, nobody outside the team finds the model.
    model = f"models/{slug}/{options.model}"
    text = {"inputs": [options.ask], "top_k": 3}
    say("The employee tried to call it. Refused:", employee.refused("POST", f"{model}/predict", text))
    asked = builder.post(
        f"{model}/versions/{job['version']}/publications/",
        {
            "alias": "champion",
            "audience": "organisation",
            "intended_use": "Suggests the team for a request. Not for judging people; a person can change each result.",
        },
    )
    approve(reviewer, asked["request"], "Its figures stand in the evaluation; a person can change each result.")

    # 7. Use.
    answer = employee.post(f"{model}/predict", text)
    labels = ", ".join(f"{row['label']} {row['score']:.2f}" for row in answer["results"][0])
    say(f"The employee asked: {options.ask}", f"{labels} (version {answer['version']}, {answer['latency_ms']} ms)")
    mine = builder.get("ledger/", subject=f"projects.usecase:{use_case['id']}")["results"]
    say(f"The ledger holds {len(mine)} entries about the use case alone, beginning with {mine[-1]['action']}.")
    return f"/models/{slug}/{options.model}/"


def setting(text: str) -> tuple[str, str]:
    """Return name and value of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"write a setting as NAME=VALUE, not {text!r}")
    return name, value


def main() -> int:
    """Read arguments and environment, walk, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True, help="a file with a column of texts and one of labels")
    parser.add_argument("--text", default="text", help="the column that holds the texts (default: text)")
    parser.add_argument("--label", default="label", help="the column that holds the labels (default: label)")
    parser.add_argument("--team", default="", help="the team's short name; by default the builder's first")
    parser.add_argument("--base-model", default="", help="name in the catalogue; by default the newest allowed one")
    parser.add_argument("--preset", default="quick", help="quick, balanced or thorough (default: quick)")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE", help="one setting")
    parser.add_argument("--model", default=f"walk-{int(time.time())}", help="name of the new dataset and model")
    parser.add_argument("--ask", default="My laptop does not switch on any more.", help="the text the employee sends")
    options = parser.parse_args()
    names = ("GATEHOUSE_URL", "BUILDER_TOKEN", "REVIEWER_TOKEN", "EMPLOYEE_TOKEN")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        print(f"Set {', '.join(missing)} in the environment; --help says what they are.", file=sys.stderr)
        return 2
    url, *tokens = (os.environ[name] for name in names)
    people = [Person(name, url, token) for name, token in zip(("Bob", "Carol", "The employee"), tokens, strict=True)]
    try:
        address = walk(*people, options)
    except Stopped as reason:
        print(reason, file=sys.stderr)
        return 1
    except httpx.TransportError as error:
        print(f"{url} does not answer: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.csv} cannot be read: {error.strerror}.", file=sys.stderr)
        return 1
    print(f"Done: {url.rstrip('/')}{address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
