"""Kinds of training, one file each, found by scanning this folder.

The contract of a file here:

- ``RECIPE``: a ``hyperparameters.Recipe`` whose ``name`` is the file's own. Importing the file imports the standard
  library and ``training.engine.hyperparameters`` only, so that forms can be drawn without torch.
- ``train(run) -> training.engine.loop.Trained``: does the work with the ``training.engine.run.Run`` it is
  given (specification, data, hardware, events), training through ``loop.fit``, and returns the trained model. It
  imports torch and its kin inside the function.
- ``write_model(run, trained, folder)``: writes everything that serving needs into the emptied ``folder``, with
  ``serving.json``, which names the task.
- ``answer(run, trained, folder)``: loads the model from ``folder`` as serving will and returns what it answers to the
  test split, in the form of the recipe's measure.
- It imports no other file of this folder. Adding a recipe is adding one file.
"""

import importlib
import pkgutil
from types import ModuleType

from training.engine.hyperparameters import Recipe


class UnknownRecipe(LookupError):
    """No file of this folder has that name."""


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """Return the module of a recipe; raises ``UnknownRecipe``."""
    if name not in names():
        raise UnknownRecipe(f"There is no recipe named {name!r}; there are {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}")


def get(name: str) -> Recipe:
    """Return the declaration of a recipe, without importing torch; raises ``UnknownRecipe``."""
    recipe = load(name).RECIPE
    assert isinstance(recipe, Recipe)
    return recipe
