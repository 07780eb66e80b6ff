"""A whole run of the engine as a process."""

from tests.training.engine.conftest import World, run_engine
from training.engine.spec import Placement


def test_a_full_run_leaves_artifacts_an_evaluation_and_a_summary(world: World, place: Placement) -> None:
    spec = world.with_settings(baselines=("majority", "tfidf_linear", "frozen_embeddings"), head_start="linear_probe")
    outcome = run_engine(spec, place)
    print(outcome.stderr)
    for e in outcome.events:
        print(e.to_line()[:200])
    assert outcome.code == 0
