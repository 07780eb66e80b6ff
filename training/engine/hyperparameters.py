"""How a recipe declares its settings, once, for forms, API, documentation and engine; standard library only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.engine.admission import ARCHITECTURES
from training.engine.spec import METHODS

TYPES = ("int", "float", "bool", "choice")


class HyperparameterError(ValueError):
    """Settings were refused; ``errors`` maps each field to a sentence that says what is wrong and what is allowed."""

    def __init__(self, errors: Mapping[str, str]):
        self.errors = dict(errors)
        super().__init__(" ".join(self.errors.values()))


@dataclass(frozen=True)
class Hyperparameter:
    """One setting: its name, type, default, bounds and the words that explain it.

    ``type`` is one of ``TYPES``. ``minimum`` and ``maximum`` are inclusive. ``choices`` are the values of a ``choice``.
    ``help`` says what it does, ``when`` says in which situation a person should touch it. ``methods`` lists the methods
    for which it has an effect. ``advanced`` settings are folded away in forms.
    """

    name: str
    title: str
    type: str
    default: Any
    help: str
    when: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    advanced: bool = False
    methods: tuple[str, ...] = METHODS

    def check(self, value: Any) -> Any:
        """Return ``value`` in this setting's type; raises ``ValueError`` with a sentence. Text is parsed."""
        if self.type == "bool":
            return self._check_bool(value)
        if self.type == "choice":
            if value not in self.choices:
                raise ValueError(f"{self.title} must be one of {', '.join(self.choices)}, not {value!r}.")
            return value
        return self._check_number(value)

    def _check_bool(self, value: Any) -> bool:
        spelled = {
            "true": True,
            "on": True,
            "yes": True,
            "1": True,
            "false": False,
            "off": False,
            "no": False,
            "0": False,
        }
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in spelled:
            return spelled[value.strip().lower()]
        raise ValueError(f"{self.title} must be true or false, not {value!r}.")

    def _check_number(self, value: Any) -> int | float:
        kind = "a whole number" if self.type == "int" else "a number"
        refusal = ValueError(f"{self.title} must be {kind}, not {value!r}.")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise refusal
        try:
            number: int | float = float(value)
        except ValueError:
            raise refusal from None
        if not math.isfinite(number):
            raise refusal
        if self.type == "int":
            if number != int(number):
                raise refusal
            number = int(number)
        low = self.minimum is not None and number < self.minimum
        high = self.maximum is not None and number > self.maximum
        if low or high:
            unit = f" {self.unit}" if self.unit else ""
            raise ValueError(
                f"{self.title} must lie between {self.minimum:g} and {self.maximum:g}{unit}, not {number:g}."
            )
        return number

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold, for the API."""
        return {
            "name": self.name,
            "title": self.title,
            "type": self.type,
            "default": self.default,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "choices": list(self.choices),
            "unit": self.unit,
            "help": self.help,
            "when": self.when,
            "advanced": self.advanced,
            "methods": list(self.methods),
        }


@dataclass(frozen=True)
class Preset:
    """A named starting point: ``values`` override defaults, ``by_method`` overrides them again for one method."""

    name: str
    title: str
    help: str
    values: Mapping[str, Any] = field(default_factory=dict)
    by_method: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """One kind of training: what it is for, what can be set, and good starting points (first method: recommended).

    ``layouts`` are the kinds of rows that it learns from, ``measure`` says how its results are measured (a file of
    ``training.engine.measures``), ``families`` the architectures of base models that it trains.
    """

    name: str
    title: str
    task: str
    help: str
    methods: tuple[str, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    presets: Mapping[str, Preset]
    default_preset: str = "balanced"
    layouts: tuple[str, ...] = ("classes",)
    measure: str = "classes"
    families: tuple[str, ...] = ARCHITECTURES


def resolve(
    recipe: Recipe, preset: str = "", overrides: Mapping[str, Any] | None = None, method: str = ""
) -> dict[str, Any]:
    """Return every hyperparameter of ``recipe`` with its explicit, checked value.

    Defaults are overridden by the preset (empty: the recipe's default one), and that by ``overrides``, in which None
    and empty text mean "not given". ``method`` empty means the recipe's first. Raises ``HyperparameterError`` with one
    sentence per wrong field; an unknown preset or method is reported under ``preset`` and ``method``.
    """
    errors: dict[str, str] = {}
    preset = preset or recipe.default_preset
    method = method or recipe.methods[0]
    if preset not in recipe.presets:
        errors["preset"] = f"Preset must be one of {', '.join(recipe.presets)}, not {preset!r}."
    if method not in recipe.methods:
        errors["method"] = f"Method must be one of {', '.join(recipe.methods)}, not {method!r}."
    known = {h.name: h for h in recipe.hyperparameters}
    given = {name: value for name, value in (overrides or {}).items() if value is not None and value != ""}
    for name in given:
        if name not in known:
            errors[name] = f"{recipe.title} has no setting named {name!r}; it has {', '.join(sorted(known))}."
    chosen = {h.name: h.default for h in recipe.hyperparameters}
    if preset in recipe.presets:
        chosen.update(recipe.presets[preset].values)
        chosen.update(recipe.presets[preset].by_method.get(method, {}))
    chosen.update({name: value for name, value in given.items() if name in known})
    for name, hyperparameter in known.items():
        try:
            chosen[name] = hyperparameter.check(chosen[name])
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise HyperparameterError(errors)
    return chosen


def check_complete(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` checked, requiring every hyperparameter to be there; raises ``HyperparameterError``."""
    known = {h.name for h in recipe.hyperparameters}
    missing = sorted(known - set(values))
    if missing:
        raise HyperparameterError({name: f"The run specification lacks the setting {name!r}." for name in missing})
    return resolve(recipe, overrides=values)
