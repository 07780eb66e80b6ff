"""Every layout keeps the folder's contract, and each kind of row is read honestly from upload to version."""

import json

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from projects import layouts, tables
from projects.services import datasets, repositories
from tests.factories import make_dataset

CHAT = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
GOOD = {
    "classes": ({"text": "a b", "label": " x "}, {"text": "a b", "label": "x"}),
    "numbers": ({"text": "a b", "number": " -1.5e2 "}, {"text": "a b", "number": "-1.5e2"}),
    "tag_sets": ({"text": "a b", "labels": "y| x |y"}, {"text": "a b", "labels": '["x", "y"]'}),
    "prompts": ({"prompt": "a?", "completion": "b"}, {"prompt": "a?", "completion": "b"}),
    "texts": ({"text": "once upon"}, {"text": "once upon"}),
    "conversations": (
        {"messages": json.dumps([{**one, "at": "noon"} for one in CHAT])},
        {"messages": json.dumps(CHAT, separators=(",", ":"))},
    ),
}


@pytest.mark.parametrize("name", layouts.names())
def test_a_layout_declares_itself_and_reads_a_good_row(name):
    layout, module = layouts.get(name), layouts.load(name)
    roles = [role.name for role in layout.roles]
    assert layout.name == name
    assert layout.text in roles
    assert layout.stratum in ("", *roles)
    assert all(role.title and role.help.endswith(".") for role in layout.roles)
    given, kept = GOOD[name]
    assert module.read(given) == kept
    assert all(isinstance(label, str) for label in module.labels(kept))


@pytest.mark.parametrize("name", layouts.names())
def test_a_layout_refuses_a_row_that_lacks_what_it_needs(name):
    layout, module = layouts.get(name), layouts.load(name)
    for role in layout.roles:
        if not role.required or (name, role.name) == ("tag_sets", "labels"):
            continue
        for gap in (None, "", "  "):
            found = module.read({**GOOD[name][0], role.name: gap})
            assert isinstance(found, layouts.Problem)
            assert (found.role, found.advice[-1]) == (role.name, ".")


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ("hello", "not_a_list"),
        ('{"role": "user"}', "not_a_list"),
        ('["hello"]', "not_a_message"),
        ('[{"role": "robot", "content": "x"}]', "unknown_role"),
        ('[{"role": "user", "content": ""}]', "empty_message"),
        ('[{"role": "user", "content": [{"type": "image"}]}]', "empty_message"),
        ('[{"role": "assistant", "content": "x"}]', "out_of_turn"),
        ('[{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]', "out_of_turn"),
        ('[{"role": "user", "content": "x"}]', "no_answer"),
        ("[" * 100_000, "not_a_list"),
    ],
)
def test_a_conversation_is_a_list_of_messages_in_turn(messages, code):
    found = layouts.load("conversations").read({"messages": messages})
    assert isinstance(found, layouts.Problem)
    assert found.code == code


@pytest.mark.parametrize("written", ["1,5", "12 EUR", "nan", "inf", "1_000"])
def test_a_number_is_written_as_one(written):
    found = layouts.load("numbers").read({"text": "a", "number": written})
    assert isinstance(found, layouts.Problem)
    assert found.code == "not_a_number"


def upload(lines, name="rows.jsonl"):
    return ContentFile("\n".join(json.dumps(line) for line in lines).encode(), name=name)


@pytest.mark.django_db
@pytest.mark.postgres
class TestImport:
    """What the importer makes of rows that are no text and class."""

    def test_conversations_become_a_version_and_bad_ones_are_named_by_line(self, bob, team):
        dataset = make_dataset(actor=bob, team=team)
        rows = [
            {"messages": [{"role": "user", "content": f"Question {n}"}, {"role": "assistant", "content": f"{n / 2}"}]}
            for n in range(40)
        ]
        bad = [{"messages": "hi"}, {"messages": [{"role": "user", "content": "?"}]}, {"messages": None}]
        version = datasets.receive(actor=bob, dataset=dataset, file=upload([*rows, *bad]))
        looked = datasets.preview(actor=bob, version=version)
        assert (looked.guess.layout, looked.guess.columns) == ("conversations", {"messages": "messages"})
        given = {"layout": "conversations", "columns": {"messages": "messages"}}
        datasets.map_columns(actor=bob, version=version, **given)
        refused = datasets.run_import(version.pk)
        assert refused.state == "refused"
        assert [(one["line"], one["code"]) for one in refused.errors] == [
            (41, "not_a_list"),
            (42, "no_answer"),
            (43, "no_messages"),
        ]
        datasets.map_columns(actor=bob, version=refused, on_bad_rows="skip")
        version = datasets.run_import(version.pk)
        assert (version.state, version.rows, version.error_count) == ("profiled", 40, 3)
        assert (version.layout, version.columns, version.labels) == ("conversations", {"messages": "messages"}, [])
        assert set(version.split_rows) == {"train", "validation", "test"}
        path = repositories.local_path(version.commit.files.get(path="data/test.parquet").blob)
        held = json.loads(next(iter(tables.iterate(path)))["messages"])
        assert [message["role"] for message in held] == ["user", "assistant"]
        assert "text-generation" in datasets.card(dataset=dataset, version=version)

    def test_a_list_is_no_text_for_a_classifier(self, bob, team):
        dataset = make_dataset(actor=bob, team=team)
        rows = [{"text": [f"word {n}"], "label": "ab"[n % 2]} for n in range(20)]
        options = {"text_column": "text", "label_column": "label"}
        version = datasets.receive(actor=bob, dataset=dataset, file=upload(rows), options=options)
        refused = datasets.run_import(version.pk)
        assert {one["code"] for one in refused.errors} == {"nested_value"}

    def test_labels_of_a_row_are_counted_one_by_one(self, bob, team):
        dataset = make_dataset(actor=bob, team=team)
        rows = [{"text": f"word {n}", "tags": ["red", "blue"] if n % 2 else []} for n in range(30)]
        options = {"layout": "tag_sets", "columns": {"text": "text", "labels": "tags"}}
        version = datasets.receive(actor=bob, dataset=dataset, file=upload(rows), options=options)
        version = datasets.run_import(version.pk)
        assert (version.state, version.labels) == ("profiled", ["blue", "red"])

    def test_a_role_without_a_column_and_an_unknown_one_are_said_beside_their_field(self, bob, team):
        dataset = make_dataset(actor=bob, team=team)
        version = datasets.receive(actor=bob, dataset=dataset, file=upload([{"prompt": "a", "answer": "b"}]))
        for given, field in (
            ({"layout": "prompts", "columns": {"prompt": "prompt"}}, "completion_column"),
            ({"layout": "prompts", "columns": {"prompt": "prompt", "completion": "reply"}}, "completion_column"),
            ({"layout": "prompts", "columns": {"text": "prompt"}}, "columns"),
            ({"layout": "poems"}, "layout"),
        ):
            with pytest.raises(datasets.Invalid) as refusal:
                datasets.map_columns(actor=bob, version=version, **given)
            assert refusal.value.field == field

    def test_the_page_and_the_api_name_the_roles_of_the_layout(self, client, bob, team):
        dataset = make_dataset(actor=bob, team=team)
        rows = [{"question": f"What is {n}?", "answer": f"It is {n}.", "text": "x"} for n in range(30)]
        version = datasets.receive(actor=bob, dataset=dataset, file=upload(rows))
        client.force_login(bob)
        page = reverse("projects:dataset_columns", args=[team.slug, dataset.name, version.number])
        shown = client.get(page)
        assert [field.name for field in shown.context["form"].role_fields] == [
            "prompt_column",
            "completion_column",
            "system_column",
        ]
        typed = {"layout": "prompts", "prompt_column": "question", "completion_column": "question"}
        shares = {"train": 80, "validation": 10, "test": 10, "seed": 0, "on_bad_rows": "refuse"}
        answer = client.post(page, typed | shares)
        assert answer.status_code == 422
        assert "completion_column" in answer.context["form"].errors
        answer = client.post(page, typed | shares | {"completion_column": "answer"})
        assert answer.status_code == 302
        version = datasets.run_import(version.pk)
        assert version.columns == {"prompt": "question", "completion": "answer"}
        told = client.get(f"/api/v1/datasets/{dataset.pk}/versions/{version.number}/").json()
        assert (told["layout"], told["columns"]) == ("prompts", version.columns)
        assert client.get(version.get_absolute_url()).status_code == 200
