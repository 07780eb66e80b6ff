"""The training engine: a process that reads one run specification and leaves a trained, measured model in a folder.

The contract of this room:

- It knows no Django, no database, no queue and no network. What it needs comes in one JSON object on standard input
  (``spec.RunSpec`` and ``spec.Placement``), what it has to say goes out as JSON lines on standard output
  (``spec.Event``), and what it makes lies in the run folder.
- ``spec``, ``hyperparameters``, and the declarations found by ``recipes.get`` and ``baselines.get`` import nothing but
  the standard library, so that a web process may read them. Everything else may import torch, and does so only inside
  the engine process.
- The same specification with the same seed on the same processor gives the same weights, also when the run was killed
  and resumed on the way.
"""
