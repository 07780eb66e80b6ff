"""The pages of jobs: the list, the form with its dry run, the page of one, cancel, retry, compare."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.factories import make_use_case
from tests.training.factories import make_dataset_version
from tests.training.services.test_registry import make_version
from training.forms import JobForm, pickers
from training.models import JobEvent, TrainingJob
from training.services import jobs

pytestmark = pytest.mark.django_db

NEW = "training:job_new"


def described(ground, **changes) -> dict:
    return {
        "use_case": ground.use_case.pk,
        "dataset_version": ground.version.pk,
        "base_model": ground.base_model.pk,
        "model_name": "sorter",
        "recipe": "sequence_classification",
        "method": "lora",
        "preset": "quick",
        "seed": "1",
        "key": "abc",
    } | changes


def queries_of(client, address) -> int:
    client.get(address)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


# The form


def test_a_dry_run_answers_in_place_and_queues_nothing(as_, ground, bob):
    answer = as_(bob).post(reverse(NEW), described(ground, act="check"), headers={"HX-Request": "true"})

    assert answer.status_code == 200
    assert answer.context["plan"].ready
    assert "<html" not in answer.text
    assert not TrainingJob.objects.exists()


def test_a_dry_run_works_without_scripts_and_keeps_what_was_typed(as_, ground, bob):
    answer = as_(bob).post(reverse(NEW), described(ground, act="check", setting_epochs="7"))

    assert answer.status_code == 200
    assert "<html" in answer.text
    assert 'value="sorter"' in answer.text
    assert answer.context["form"]["setting_epochs"].value() == "7"
    assert answer.context["plan"].hyperparameters["epochs"] == 7
    assert not TrainingJob.objects.exists()


def test_a_submitted_job_is_queued_once_however_often_it_is_sent(as_, ground, bob):
    client = as_(bob)
    for _time in range(2):
        answer = client.post(reverse(NEW), described(ground, act="submit"))
        assert answer.status_code == 302
    job = TrainingJob.objects.get()
    assert answer.url == job.get_absolute_url()
    assert (job.method, job.preset, job.spec["seed"]) == ("lora", "quick", 1)


def test_a_refused_job_is_not_queued_and_says_what_is_missing(as_, ground, bob, team):
    raw = make_use_case(actor=bob, team=team, title="Answer travel questions")

    answer = as_(bob).post(reverse(NEW), described(ground, act="submit", use_case=raw.pk))

    assert answer.status_code == 422
    assert not TrainingJob.objects.exists()
    missing = {item["label"] for item in answer.context["missing"]}
    assert missing == {"The use case is approved for development", "The dataset version is cleared for it"}
    assert raw.get_absolute_url() in answer.text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"setting_epochs": "5000"}, "setting_epochs"),
        ({"setting_learning_rate": "fast"}, "setting_learning_rate"),
        ({"setting_lora_alpha": "-1"}, "setting_lora_alpha"),
        ({"model_name": "Not A Name"}, "model_name"),
        ({"model_name": ""}, "model_name"),
        ({"seed": "-1"}, "seed"),
        ({"use_case": ""}, "use_case"),
        ({"dataset_version": "999999"}, "dataset_version"),
        ({"base_model": "x'--"}, "base_model"),
        ({"preset": "nonsense"}, "preset"),
        ({"method": "nonsense"}, "method"),
        ({"recipe": "nonsense"}, "recipe"),
    ],
)
def test_a_wrong_value_is_told_beside_its_field(as_, ground, bob, changes, field):
    answer = as_(bob).post(reverse(NEW), described(ground, act="submit", **changes))

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert not TrainingJob.objects.exists()


def test_a_folded_section_opens_when_something_in_it_is_wrong(as_, ground, bob):
    form = as_(bob).post(reverse(NEW), described(ground, act="check", setting_lora_alpha="-1")).context["form"]
    assert form.advanced_open
    assert not form.basic_open


def test_choosing_a_use_case_puts_its_cleared_versions_first(as_, ground, bob, alice, team):
    raw = make_dataset_version(actor=alice, team=team, name="other")

    form = as_(bob).get(reverse(NEW), {"use_case": ground.use_case.pk}).context["form"]

    (_none, cleared, others) = form.fields["dataset_version"].widget.choices
    assert [key for key, _label in cleared[1]] == [str(ground.version.pk)]
    assert [key for key, _label in others[1]] == [str(raw.pk)]
    assert form["dataset_version"].value() == ground.version.pk


def test_a_changed_choice_suggests_a_name_and_never_replaces_a_typed_one(as_, ground, bob):
    client = as_(bob)
    fresh = client.post(reverse(NEW), described(ground, act="refresh", model_name="")).context["form"]
    assert fresh["model_name"].value() == "sort-help-desk-requests"
    typed = client.post(reverse(NEW), described(ground, act="refresh", model_name="mine")).context["form"]
    assert typed["model_name"].value() == "mine"
    assert not typed.errors


def test_a_preset_changes_what_empty_settings_show(as_, ground, bob):
    def epochs(preset):
        form = as_(bob).post(reverse(NEW), described(ground, act="refresh", preset=preset)).context["form"]
        return form.fields["setting_epochs"].widget.attrs["placeholder"]

    assert epochs("quick") != epochs("thorough")


def test_a_use_case_of_another_team_cannot_be_named(as_, ground, bob, frank, other_team):
    from tests.personas import make_person, make_role

    owner = make_role(make_person("greta"), "team_owner", other_team)
    foreign = make_use_case(actor=owner, team=other_team, title="Check invoices")

    answer = as_(bob).post(reverse(NEW), described(ground, act="check", use_case=foreign.pk))

    assert list(answer.context["form"].errors) == ["use_case"]
    assert "Check invoices" not in answer.text


def test_many_options_become_a_search_field(as_, ground, bob, team, monkeypatch):
    monkeypatch.setattr(pickers, "OPTIONS", 1)
    make_use_case(actor=bob, team=team, title="Answer travel questions")
    client = as_(bob)

    page = client.get(reverse(NEW), {"use_case": ground.use_case.pk})
    field = page.context["form"].fields["use_case"]
    named = field.named(ground.use_case)
    assert field.searched
    assert page.context["form"]["use_case"].value() == named
    assert "Answer travel questions" not in page.text
    offered = client.get(reverse("training:job_options", args=["use_case"]), {"use_case": "travel"})
    assert "Answer travel questions" in offered.text
    assert ground.use_case.title not in offered.text
    assert client.post(reverse(NEW), described(ground, act="check", use_case=named)).context["plan"].ready
    several = client.post(reverse(NEW), described(ground, act="check", use_case="s"))
    assert "Choose one of them" in several.context["form"].errors["use_case"][0]


def test_every_setting_of_the_recipe_is_in_the_form(ground, bob):
    form = JobForm(user=bob)
    shown = {field.name.removeprefix("setting_") for field in (*form.basic_settings, *form.advanced_settings)}
    assert shown == {one.name for one in form.declared.hyperparameters if "full" in one.methods}
    assert all(field.help_text for field in form.basic_settings)


# Who sees what


def test_only_the_team_and_those_who_read_all_see_a_job(as_, ground, personas):
    job = ground.submit(personas["bob"])
    seen = {name: as_(user).get(job.get_absolute_url()).status_code for name, user in personas.items()}
    assert seen == {"alice": 200, "bob": 200, "carol": 200, "dan": 200, "eve": 404, "frank": 404} or seen == {
        "alice": 200, "bob": 200, "carol": 200, "dan": 200, "eve": 404, "frank": 200,
    }  # fmt: skip
    events = reverse("training:job_events", args=[job.pk])
    assert as_(personas["eve"]).get(events).status_code == 404


def test_an_outsider_sees_no_job_in_the_list(as_, ground, bob, eve):
    ground.submit(bob)
    assert [row.pk for row in as_(bob).get(reverse("training:jobs")).context["page"].items]
    assert not as_(eve).get(reverse("training:jobs")).context["page"].items


@pytest.mark.parametrize(
    ("query", "found"),
    [("", 1), ("?q=sort", 1), ("?q=zebra", 0), ("?mine=1", 0), ("?state=failed", 0), ("?state=x", 1)],
)
def test_filters_narrow_the_list(as_, ground, bob, alice, query, found):
    ground.submit(bob)
    assert len(as_(alice).get(reverse("training:jobs") + query).context["page"].items) == found


# Acts


def test_cancelling_ends_a_queued_job(as_, ground, bob):
    job = ground.submit(bob)
    as_(bob).post(reverse("training:job_cancel", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert reverse("training:job_retry", args=[job.pk]) in as_(bob).get(job.get_absolute_url()).text


def test_retrying_queues_the_same_run_again(as_, ground, bob):
    job = ground.submit(bob)
    jobs.cancel(actor=bob, job=job)
    answer = as_(bob).post(reverse("training:job_retry", args=[job.pk]))
    again = TrainingJob.objects.get(retry_of=job)
    assert answer.url == again.get_absolute_url()
    assert again.spec == job.spec


def test_a_reviewer_may_look_but_not_stop(as_, ground, bob, carol):
    job = ground.submit(bob)
    assert reverse("training:job_cancel", args=[job.pk]) not in as_(carol).get(job.get_absolute_url()).text
    assert as_(carol).post(reverse("training:job_cancel", args=[job.pk])).status_code == 403
    job.refresh_from_db()
    assert job.state == "queued"


def test_a_failed_job_says_why_and_what_to_do(as_, ground, bob):
    job = ground.submit(bob)
    TrainingJob.objects.filter(pk=job.pk).update(
        state="failed", finished_at=timezone.now(), error_code="out_of_memory",
        error_message="The memory ran out.", error_advice="Halve the batch size.",
    )  # fmt: skip
    text = as_(bob).get(job.get_absolute_url()).text
    assert "The memory ran out." in text
    assert "Halve the batch size." in text


# Results


def test_the_page_of_a_succeeded_job_shows_its_evaluation(as_, version, bob):
    answer = as_(bob).get(version.job.get_absolute_url())
    assert answer.status_code == 200
    assert answer.context["report"].tuned["accuracy"]["value"] == version.job.evaluation.accuracy
    assert reverse("training:publish", args=["helpdesk", "sorter", 1]) in answer.text


def test_jobs_are_compared_on_the_same_rows(as_, ground, version, bob, eve, system, tmp_path):
    other = make_version(ground, bob, system, tmp_path / "again")
    address = f"{reverse('training:compare')}?job={version.job_id}&job={other.job_id}"

    answer = as_(bob).get(address)

    keys = [one.key for one in answer.context["compared"].candidates]
    assert keys[0] == f"{version.job_id}:tuned"
    assert f"{other.job_id}:tuned" in keys
    assert not as_(eve).get(address).context["sides"]
    assert as_(bob).get(f"{address}&reference=nonsense").status_code == 422


# How many queries


def test_lists_and_pages_ask_the_database_the_same_few_times(as_, ground, version, bob):
    client = as_(bob)
    pages = [reverse("training:jobs"), version.job.get_absolute_url(), reverse(NEW)]
    few = [queries_of(client, address) for address in pages]
    job = TrainingJob.objects.get(pk=version.job_id)
    rows = []
    for _number in range(60):
        job.pk, job.submission_key, job.state = None, "", "queued"
        rows.append(TrainingJob(**{f.attname: getattr(job, f.attname) for f in TrainingJob._meta.fields}))
    TrainingJob.objects.bulk_create(rows)
    JobEvent.objects.bulk_create(
        JobEvent(job_id=version.job_id, token=1, type="log", at=timezone.now(), data={"level": "info", "message": "x"})
        for _number in range(400)
    )
    many = [queries_of(client, address) for address in pages]
    assert many == few
    assert max(few) <= 12
