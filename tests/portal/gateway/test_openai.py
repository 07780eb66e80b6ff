"""What /v1 refuses before any engine is asked, in the shape that OpenAI clients read."""

from __future__ import annotations

import json

import pytest

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import tokens
from portal.gateway.openai import questions
from portal.gateway.openai.errors import Invalid
from portal.models import Usage
from portal.services import guardrails as policies
from portal.services import quotas
from tests.training.factories import make_ground
from tests.training.language_models import make_tiny_llama
from tests.training.served import make_served

CHAT = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def served(alice, bob, carol, frank, system, team, tmp_path):
    """Return the publication of a language model to the team alone."""
    ground = make_ground(owner=alice, reviewer=carol, administrator=frank, team=team, folder=tmp_path / "tiny")
    files = make_tiny_llama(tmp_path / "llama")
    return make_served(
        ground=ground, actor=bob, worker=system, reviewer=carol, files=files, run=tmp_path / "run", name="assistant",
        task="text-generation", audience="team",
    )  # fmt: skip


def ask(client, user, scopes=("predict",), **body):
    _row, secret = tokens.create(actor=user, user=user, name="test", scopes=list(scopes), days=1)
    answer = client.post(
        "/v1/chat/completions",
        data=json.dumps({"model": "helpdesk/assistant", "messages": CHAT} | body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    return answer, answer.json()["error"]


@pytest.mark.django_db
def test_refusals_have_the_clients_shape_and_are_recorded(client, served, bob, eve, alice) -> None:
    answer, error = ask(client, eve)
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    answer, error = ask(client, bob, scopes=["read"])
    assert (answer.status_code, error["type"]) == (403, "permission_error")
    assert LedgerEntry.objects.filter(action=Action.REFUSED, actor=bob).exists()
    answer = client.post("/v1/chat/completions", data="{}", content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    # No engine runs in this process: who may use the model is told so, and the call is counted all the same.
    answer, error = ask(client, bob)
    assert (answer.status_code, error["code"], answer["Retry-After"]) == (503, "engine_unavailable", "5")
    assert LedgerEntry.objects.filter(action=Action.MODEL_CALLED, actor=bob).count() == 1


@pytest.mark.django_db
def test_who_asks_too_often_is_told_when_to_come_back(client, served, bob, settings) -> None:
    settings.PREDICT_RATE = "1/min"
    ask(client, bob)
    _row, secret = tokens.create(actor=bob, user=bob, name="again", scopes=["predict"], days=1)
    answers = [
        client.post(
            "/v1/embeddings", data="{}", content_type="application/json", headers={"Authorization": f"Bearer {secret}"}
        )
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [400, 429]
    assert answers[1].json()["error"]["code"] == "rate_limit_exceeded"
    assert int(answers[1]["Retry-After"]) > 0


@pytest.mark.django_db
def test_guardrails_look_at_what_is_said_and_quotas_end_it_without_a_storm_of_retries(
    client, served, bob, alice, frank
) -> None:
    policies.set_policy(
        actor=alice, model=served.model, rules={"phrases": {"input": "refuse", "phrases": ["pick the lock"]}}
    )
    answer, error = ask(client, bob, messages=[{"role": "user", "content": "How do I pick the lock?"}])
    assert (answer.status_code, error["code"]) == (400, "content_filter")
    assert answer["Gatehouse-Guardrails"] == "phrases;action=refuse;count=1"
    assert Usage.objects.get(person=bob).outcome == "refused"
    quotas.create(actor=frank, subject="model", unit="calls", window="day", amount=1, model=served.model)
    answer, error = ask(client, bob)
    assert (answer.status_code, error["code"]) == (429, "insufficient_quota")
    assert answer["x-should-retry"] == "false"
    assert int(answer["Retry-After"]) > 0


@pytest.mark.django_db
def test_the_browser_may_ask_in_its_own_session_and_no_other_site_for_it(served, bob) -> None:
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(bob)
    body = json.dumps({"model": "helpdesk/assistant", "messages": CHAT})
    refused = strict.post("/v1/chat/completions", data=body, content_type="application/json")
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    strict.get(f"/models/helpdesk/{served.model.name}/chat/")
    token = strict.cookies["csrftoken"].value
    answer = strict.post(
        "/v1/chat/completions", data=body, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert answer.status_code == 503


@pytest.mark.django_db
def test_the_chat_page_says_what_the_model_is_for_and_why_it_does_not_answer(client, served, bob, eve, alice) -> None:
    from training.services import registry

    client.force_login(bob)
    page = client.get("/models/helpdesk/assistant/chat/").content.decode()
    assert "a person reads what it writes before it is sent" in page
    assert 'data-model="helpdesk/assistant"' in page
    assert "/models/helpdesk/assistant/chat/" in client.get("/models/helpdesk/assistant/").content.decode()
    code = client.get("/models/helpdesk/assistant/").content.decode()
    assert "http://testserver/v1" in code
    assert "chat.completions.create" in code
    registry.suspend(actor=alice, publication=served, reason="It said something rude.")
    assert "It said something rude." in client.get("/models/helpdesk/assistant/chat/").content.decode()
    client.force_login(eve)
    assert client.get("/models/helpdesk/assistant/chat/").status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": "x"}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": CHAT, "n": 0}, "n"),
        ({"messages": CHAT, "n": True}, "n"),
        ({"messages": CHAT, "top_p": 1.5}, "top_p"),
        ({"messages": CHAT, "stop": ["a"] * 5}, "stop"),
        ({"messages": CHAT, "top_logprobs": 2}, "top_logprobs"),
        ({"messages": CHAT, "max_tokens": 10**9}, "max_tokens"),
        ({"messages": CHAT, "logit_bias": {"1": 5}}, "logit_bias"),
        ({"messages": CHAT, "response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": CHAT, "stream_options": 1}, "stream_options"),
    ],
)
def test_what_cannot_be_done_is_named(body, param) -> None:
    with pytest.raises(Invalid) as refused:
        questions.chat({"model": "a/b"} | body)
    assert refused.value.param == param


def test_what_clients_send_beside_the_question_is_understood() -> None:
    asked = questions.chat(
        {
            "model": "a/b",
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief"}]}
            ],
            "max_completion_tokens": 7,
            "max_tokens": 9,
            "stop": "x",
            "logprobs": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "user": "somebody",
            "frequency_penalty": 0.0,
            "tools": None,
            "response_format": {"type": "text"},
        }
    )
    assert asked.messages == [{"role": "developer", "content": "Be\nbrief"}]
    assert (asked.ask.max_tokens, asked.ask.stop, asked.ask.logprobs) == (7, ("x",), 0)
    assert (asked.stream, asked.counted) == (True, True)
    # The most that it can take: every byte a token, a little for the template, and all that may be written.
    assert asked.budget == len("Be\nbrief") + questions.TEMPLATE_TOKENS + 7


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_inputs_come_in_four_forms(given, expected) -> None:
    assert questions.embedding({"model": "a/b", "input": given}).inputs == expected
    assert questions.completion({"model": "a/b", "prompt": given}).prompts == expected


@pytest.mark.parametrize("given", [None, "", [], ["a", ""], [["x"]], [[]], 5, ["a", 1]])
def test_inputs_of_no_form_are_refused(given) -> None:
    with pytest.raises(Invalid) as refused:
        questions.embedding({"model": "a/b", "input": given})
    assert refused.value.param == "input"
