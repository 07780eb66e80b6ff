"""Topics that a model is not for, told by a classifier that was trained, reviewed and published in this portal."""

from __future__ import annotations

from portal.gateway import engines
from portal.gateway.guardrails import Finding, Option

LABEL = "Topics by a classifier"
NOTE = (
    "Texts that a published classifier gives one of the labels named. It is as right as its evaluation says, no more."
)
STAGES = ("input", "output")
ACTIONS = ("note", "refuse")
OPTIONS = {
    "model": Option("Classifier", "text", "", "A model that is published to everybody, as team/name."),
    "labels": Option("Labels", "lines", [], "Labels that stand for a topic, one on each line.", stricter="more"),
    "percent": Option("Sure from", "number", 50, "Per cent of certainty from which it counts.", stricter="less"),
}


def find(text: str, options: dict, looker) -> list[Finding]:
    """Return the label as one find over the whole text; raises Unavailable where the classifier cannot be asked."""
    # The classifier is called as any model is, by the gateway that calls the guardrails.
    from portal.gateway import predictions

    wanted = {one.casefold() for one in options.get("labels", [])}
    if not wanted or not text.strip():
        return []
    sure = int(options.get("percent", OPTIONS["percent"].default)) / 100
    try:
        scores = predictions.classify(actor=looker, name=str(options.get("model", "")), text=text)
    except predictions.NotAnswering as error:
        raise engines.Unavailable(
            "A guardrail of this model looks by a classifier that does not answer, so the call was not made. "
            "Try again in a minute, or tell the model's owner."
        ) from error
    top = next((one for one in scores if one["label"].casefold() in wanted and one["score"] >= sure), None)
    return [Finding(f"a topic that this model is not for: {top['label']}", 0, len(text))] if top else []
