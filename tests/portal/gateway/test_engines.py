"""Every engine file keeps the contract of the folder, and an operator's word decides which of them answers."""

from __future__ import annotations

import inspect

import pytest

from portal.gateway import engines


@pytest.mark.parametrize("name", engines.names())
def test_an_engine_keeps_the_contract(name: str) -> None:
    engine = engines.get(name)
    assert name == engine.NAME
    assert isinstance(engine.NEEDS_FILES, bool)
    assert isinstance(engine.state(), str)
    assert engine.claims("helpdesk/nobody-gave-it-away") is False
    does = [word for word in ("predict", "chat", "complete", "embed") if hasattr(engine, word)]
    assert does, "an engine that does nothing"
    arguments = {
        "predict": ["texts", "top_k"],
        "chat": ["messages", "ask"],
        "complete": ["prompts", "ask"],
        "embed": ["inputs"],
    }
    for word in does:
        assert list(inspect.signature(getattr(engine, word)).parameters) == ["loaded", *arguments[word]]
    if "embed" in does:
        assert inspect.iscoroutinefunction(engine.embed)


def test_what_no_operator_gave_away_is_served_here(settings) -> None:
    settings.UPSTREAM_MODELS = {"helpdesk/assistant": "their-name"}
    assert engines.of("helpdesk/assistant").NAME == "openai_compatible"
    assert engines.of("helpdesk/other").NAME == "embedded"
