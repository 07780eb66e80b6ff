"""Published models held in memory, least recently used out first: classifiers, embedders and language models.

`sources` says what may be loaded, `encoders` computes what needs one pass over a text, `training.engine.generation`
what is written token by token, and `models` keeps them all within one memory budget.
"""
