"""What the shape of every cell tells about personal data in a table too large to be read closely: counts of rows.

The close look of `personal_data` costs a millisecond a row and is given to a sample. These patterns run over all rows
outside of Python and check nothing: a run of digits may be an order number. They say whether the sample can be
believed, and never that there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from projects import tables

# RE2 reads each cell once, however it is made; the repetitions are bounded all the same.
SHAPES = (
    ("e-mail address", r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}"),
    ("bank account number (IBAN)", r"\b[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){2,7}( ?[A-Z0-9]{1,4})?\b"),
    ("IP address", r"\b([0-9]{1,3}\.){3}[0-9]{1,3}\b"),
    ("number of seven or more digits", r"[0-9]([ ./()-]{0,3}[0-9]){6}"),
)
"""Name and pattern of each shape. A row counts for a shape once, whatever its columns hold."""


def count(paths: Iterable[str | Path]) -> list[dict[str, object]]:
    """How many rows of these tables hold each shape, as `name` and `rows`; shapes that none has are left out."""
    found = dict.fromkeys((name for name, _pattern in SHAPES), 0)
    for path in paths:
        for batch in tables.arrow_batches(path):
            for name, pattern in SHAPES:
                hits: pa.Array | None = None
                for column in batch.columns:
                    here = pc.fill_null(pc.match_substring_regex(column, pattern), False)
                    hits = here if hits is None else pc.or_(hits, here)
                found[name] += pc.sum(hits).as_py() or 0 if hits is not None else 0
    return [{"name": name, "rows": rows} for name, rows in found.items() if rows]
