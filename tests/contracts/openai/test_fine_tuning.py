"""Fine-tuning with OpenAI's own client: on governed data, on the governed queue, with a real worker."""

from __future__ import annotations

import openai
import pytest

from tests.rig.processes import wait_until
from tests.rig.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DATA = "dataset:helpdesk/answers@1"
QUICK = {"n_epochs": 1, "batch_size": 16, "max_length": 32, "precision": "fp32"}


def create(client: openai.OpenAI, **changes):
    wanted = {
        "model": "tiny-encoder",
        "training_file": DATA,
        "suffix": "tuned-by-client",
        "seed": 3,
        "method": {"type": "supervised", "supervised": {"hyperparameters": QUICK}},
    }
    return client.fine_tuning.jobs.create(**(wanted | changes))


def test_a_job_runs_on_governed_data_and_its_result_is_a_version(client, served: Site) -> None:
    bob = client("bob")
    listed = {file.id: file for file in bob.files.list()}
    assert listed[DATA].status == "processed"
    assert bob.files.retrieve(DATA).filename == "answers.csv"
    job = create(bob)
    assert job.status in {"queued", "running"}
    assert (job.training_file, job.seed, job.hyperparameters.n_epochs) == (DATA, 3, 1)
    assert all(gate["open"] for gate in job.governance["gates"])
    wait_until(
        lambda: bob.fine_tuning.jobs.retrieve(job.id).status not in {"queued", "running"}, seconds=150, what="its end"
    )
    done = bob.fine_tuning.jobs.retrieve(job.id)
    assert done.status == "succeeded", done.error
    assert done.fine_tuned_model == "helpdesk/tuned-by-client"
    assert done.governance["published_as"] == []
    events = list(bob.fine_tuning.jobs.list_events(job.id, limit=5))
    assert len(events) > 5
    assert {"message", "metrics"} <= {event.type for event in events}
    assert [one.id for one in bob.fine_tuning.jobs.list(limit=1).data] == [job.id]
    assert bob.fine_tuning.jobs.checkpoints.list(job.id).data == []
    with pytest.raises(openai.BadRequestError, match="finished"):
        bob.fine_tuning.jobs.cancel(job.id)
    # Trained is not published: nobody can call it yet.
    with pytest.raises(openai.NotFoundError):
        bob.embeddings.create(model=done.fine_tuned_model, input="x")


def test_an_upload_is_a_version_that_nothing_is_tuned_on_before_it_is_cleared(client, served: Site) -> None:
    bob = client("bob")
    with served.csv.open("rb") as file:
        uploaded = bob.files.create(file=file, purpose="fine-tune", extra_body={"dataset": "helpdesk/answers"})
    assert uploaded.id.startswith("dataset:helpdesk/answers@")
    assert bob.files.wait_for_processing(uploaded.id, poll_interval=0.2).status == "processed"
    with pytest.raises(openai.PermissionDeniedError, match="cleared"):
        create(bob, training_file=uploaded.id, metadata={"use_case": use_case_of(bob)})
    with pytest.raises(openai.BadRequestError) as unnamed:
        bob.files.create(file=("x.csv", b"text,label\na,b\n"), purpose="fine-tune")
    assert unnamed.value.param == "dataset"
    with pytest.raises(openai.PermissionDeniedError):
        bob.files.delete(uploaded.id)


def use_case_of(client: openai.OpenAI) -> str:
    """The number of the use case that the other jobs are for."""
    return client.fine_tuning.jobs.list(limit=1).data[0].metadata["use_case"]


def test_what_is_not_there_or_not_possible_is_said(client, served: Site) -> None:
    bob = client("bob")
    for changed, kind, param in (
        ({"model": "gpt-4o-mini"}, openai.NotFoundError, "model"),
        ({"training_file": "file-abc"}, openai.NotFoundError, "training_file"),
        ({"suffix": openai.omit}, openai.BadRequestError, "suffix"),
        ({"validation_file": DATA}, openai.BadRequestError, "validation_file"),
        ({"method": {"type": "dpo"}}, openai.BadRequestError, "method"),
    ):
        with pytest.raises(kind) as refused:
            create(bob, **changed)
        assert refused.value.param == param, refused.value
    eve = client("eve")
    assert DATA not in [file.id for file in eve.files.list()]
    for look in (lambda: eve.files.retrieve(DATA), lambda: eve.fine_tuning.jobs.retrieve("ftjob-1")):
        with pytest.raises(openai.NotFoundError):
            look()
