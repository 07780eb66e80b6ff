"""Every recipe keeps the folder's contract, and settings are resolved as declared."""

import pytest

from projects import layouts
from training.engine import baselines, measures, recipes
from training.engine.hyperparameters import TYPES, HyperparameterError, check_complete, resolve
from training.engine.spec import METHODS

CLASSIFICATION = recipes.get("sequence_classification")


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_declares_itself_completely(name: str) -> None:
    recipe = recipes.get(name)
    assert recipe.name == name
    assert set(recipe.methods) <= set(METHODS)
    assert callable(recipes.load(name).train)
    names = [h.name for h in recipe.hyperparameters]
    assert len(names) == len(set(names))
    for hyperparameter in recipe.hyperparameters:
        assert hyperparameter.type in TYPES
        assert hyperparameter.help.endswith(".")
        assert hyperparameter.when.endswith(".")
        assert set(hyperparameter.methods) <= set(METHODS)
        assert hyperparameter.check(hyperparameter.default) == hyperparameter.default
        if hyperparameter.type in ("int", "float"):
            assert hyperparameter.minimum is not None
            assert hyperparameter.maximum is not None
    assert {"quick", "balanced", "thorough"} <= set(recipe.presets)
    for preset in recipe.presets:
        for method in recipe.methods:
            assert set(resolve(recipe, preset, {}, method)) == set(names)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_has_rows_a_measure_and_cheap_rivals(name: str) -> None:
    recipe = recipes.get(name)
    measure = measures.get(recipe.measure)
    assert set(recipe.layouts) <= set(layouts.names())
    assert recipe.families
    for layout in recipe.layouts:
        assert measure.primary_for(layout) in measure.metrics
        assert baselines.fitting(recipe.measure, layout)
    assert callable(recipes.load(name).write_model)
    assert callable(recipes.load(name).answer)


@pytest.mark.parametrize("name", measures.names())
def test_a_measure_declares_itself_completely(name: str) -> None:
    measure, module = measures.get(name), measures.load(name)
    assert measure.name == name
    assert measure.limits
    for metric in measure.metrics:
        assert metric.unit in ("share", "number")
        assert metric.help.endswith(".")
    for function in ("read", "context", "compare", "write", "summary"):
        assert callable(getattr(module, function))
    if name != "classes":
        assert set(module.ANSWERS) == {metric.name for metric in measure.metrics}


@pytest.mark.parametrize("name", baselines.names())
def test_a_baseline_declares_itself_completely(name: str) -> None:
    baseline = baselines.get(name)
    assert baseline.name == name
    assert baseline.measure in measures.names()
    assert set(baseline.layouts) <= set(layouts.names())
    assert baseline.help.endswith(".")
    assert callable(baselines.load(name).fit_predict)


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(recipes.UnknownRecipe, match="sequence_classification"):
        recipes.get("alchemy")


def test_overrides_beat_the_method_which_beats_the_preset_which_beats_the_default() -> None:
    assert resolve(CLASSIFICATION, "quick")["epochs"] == 2
    assert resolve(CLASSIFICATION, "quick", {"epochs": "7"})["epochs"] == 7
    full, lora = (resolve(CLASSIFICATION, "quick", {}, method)["learning_rate"] for method in ("full", "lora"))
    assert lora > full
    assert resolve(CLASSIFICATION, "quick", {"epochs": "", "warmup": None}) == resolve(CLASSIFICATION, "quick")


def test_every_wrong_setting_gets_its_own_sentence() -> None:
    wrong = {"epochs": 0, "learning_rate": "fast", "batch_size": 2.5, "pooling": "max", "colour": 1, "warmup": "nan"}
    with pytest.raises(HyperparameterError) as refusal:
        resolve(CLASSIFICATION, "lavish", {**wrong, "freeze_embeddings": "perhaps"}, "qlora")
    assert set(refusal.value.errors) == {*wrong, "freeze_embeddings", "preset", "method"}
    assert "between 1 and 100" in refusal.value.errors["epochs"]


def test_a_specification_must_hold_every_setting() -> None:
    values = resolve(CLASSIFICATION)
    assert check_complete(CLASSIFICATION, values) == values
    del values["epochs"]
    with pytest.raises(HyperparameterError, match="epochs"):
        check_complete(CLASSIFICATION, values)
