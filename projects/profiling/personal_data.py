"""Finds personal data that has a shape (addresses, numbers with check digits) in tables; says what it cannot find.

Presidio's pattern recognisers do the finding, without a language model and without the network.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from projects import tables
from projects.profiling import shapes

ROWS_EXAMINED = 20_000
CELL_CHARS = 10_000
# The longest thing with a shape is an address of about 100 characters.
_WINDOW = 1_000
_OVERLAP = 120
# Long documents take recognisers far longer than short requests: fewer of them are examined.
CHARS_EXAMINED = 10_000_000
LEAST_ROWS = 200
EXAMPLES = 5
ROWS_LISTED = 200
THRESHOLD = 0.4


class Kind(NamedTuple):
    """A kind of personal data: Presidio's recogniser and word for it, ours, and the fewest digits that one has.

    `run` says that these digits stand together, with at most two characters between that are no letters.
    """

    recogniser: str
    entity: str
    name: str
    digits: int
    run: bool = False


KINDS = (
    Kind("EmailRecognizer", "EMAIL_ADDRESS", "e-mail address", 0),
    Kind("IpRecognizer", "IP_ADDRESS", "IP address", 1),
    Kind("MacAddressRecognizer", "MAC_ADDRESS", "network card address", 1),
    Kind("CreditCardRecognizer", "CREDIT_CARD", "payment card number", 12, run=True),
    Kind("IbanRecognizer", "IBAN_CODE", "bank account number (IBAN)", 7),
    Kind("PhoneRecognizer", "PHONE_NUMBER", "telephone number", 7),
    Kind("UsSsnRecognizer", "US_SSN", "social security number (US)", 9, run=True),
    Kind("UsItinRecognizer", "US_ITIN", "taxpayer number (US)", 9, run=True),
    Kind("NhsRecognizer", "UK_NHS", "NHS number (UK)", 10, run=True),
    Kind("UkNinoRecognizer", "UK_NINO", "national insurance number (UK)", 6),
    Kind("EsNifRecognizer", "ES_NIF", "tax number (Spain, NIF)", 7),
    Kind("EsNieRecognizer", "ES_NIE", "foreigner number (Spain, NIE)", 7),
    Kind("ItFiscalCodeRecognizer", "IT_FISCAL_CODE", "fiscal code (Italy)", 7),
    Kind("PlPeselRecognizer", "PL_PESEL", "personal number (Poland, PESEL)", 11, run=True),
    Kind("FiPersonalIdentityCodeRecognizer", "FI_PERSONAL_IDENTITY_CODE", "personal identity code (Finland)", 9),
    Kind("SePersonnummerRecognizer", "SE_PERSONNUMMER", "personal number (Sweden)", 10, run=True),
    Kind("DeTaxIdRecognizer", "DE_TAX_ID", "tax number (Germany)", 11, run=True),
    Kind("CaSinRecognizer", "CA_SIN", "social insurance number (Canada)", 9, run=True),
    Kind("InAadhaarRecognizer", "IN_AADHAAR", "Aadhaar number (India)", 12, run=True),
    Kind("InPanRecognizer", "IN_PAN", "permanent account number (India)", 4),
    Kind("KrRrnRecognizer", "KR_RRN", "resident registration number (Korea)", 13, run=True),
    Kind("SgFinRecognizer", "SG_NRIC_FIN", "identity number (Singapore)", 7),
    Kind("AuTfnRecognizer", "AU_TFN", "tax file number (Australia)", 9, run=True),
)
_ORDER = {kind.entity: position for position, kind in enumerate(KINDS)}
_PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "BR")
CANNOT_FIND = (
    "Names, street addresses, dates of birth, job titles and descriptions of a person are not found: they have no "
    "fixed shape. A number that happens to have a right check digit may be reported without being one. Read a sample "
    "yourself."
)
_DIGIT = re.compile(r"\d")
_RUN = re.compile(r"\d(?:[\W_]{0,2}\d)*")
_SHAPES = {
    "IP_ADDRESS": re.compile(r"\d\.\d{1,3}\.\d|:[0-9a-fA-F]{0,4}:"),
    "MAC_ADDRESS": re.compile(r"[0-9a-fA-F]{2}[:-][0-9a-fA-F]{2}[:-]|[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}\."),
    # Seven digits, with what people put between the groups of a telephone number.
    "PHONE_NUMBER": re.compile(r"\d(?:[\W_x]{0,5}\d){6}"),
}
"""What every find of a kind looks like at least; where a text has nothing like it, the recogniser need not run."""
_FEWEST = 4
# The separators that a mask keeps, so that a reader still sees the shape.
_KEPT = frozenset("@.-/ :()+")


class _Presidio(NamedTuple):
    """The recognisers by the word for what they find, and what weighs their finds by the words around them."""

    recognisers: dict[str, Any]
    tokens: Any
    context: Any


@cache
def _presidio() -> _Presidio:
    """Presidio's recognisers over a blank tokenizer; imported on first use, since it takes seconds and much memory."""
    import spacy
    import tldextract
    from presidio_analyzer import predefined_recognizers
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    # The list of top-level domains comes with the package; the default would fetch a newer one.
    domains = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class Email(predefined_recognizers.EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return domains(pattern_text).top_domain_under_public_suffix != ""

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
            self.nlp: Any = {"en": spacy.blank("en")}

    recognisers: dict[str, Any] = {"EMAIL_ADDRESS": Email(supported_language="en")}
    for kind in KINDS[1:]:
        build = getattr(predefined_recognizers, kind.recogniser)
        options = {"supported_regions": _PHONE_REGIONS} if kind.entity == "PHONE_NUMBER" else {}
        recognisers[kind.entity] = build(supported_language="en", **options)
    return _Presidio(recognisers, Blank(), LemmaContextAwareEnhancer())


class Found(NamedTuple):
    """One find in a text: Presidio's word for its kind, where it is, and how sure the recogniser is (0 to 1)."""

    entity: str
    start: int
    end: int
    score: float


def find(text: str) -> list[Found]:
    """What is found in the first CELL_CHARS characters, in order, without overlaps: the surer of two readings counts.

    Long texts are read in windows, since some recognisers take time that grows with the square of the length.
    """
    text = text[:CELL_CHARS]
    found: list[Found] = []
    start = 0
    while True:
        window = text[start : start + _WINDOW]
        last = start + _WINDOW >= len(text)
        for entity, begin, end, score in _read(window):
            # What begins in the overlap is left to the next window, which sees all of it.
            if last or begin < _WINDOW - _OVERLAP:
                found.append(Found(entity, start + begin, start + end, score))
        if last:
            break
        start += _WINDOW - _OVERLAP
    found.sort(key=lambda f: (-f.score, f.start - f.end, _ORDER[f.entity], f.start))
    chosen: list[Found] = []
    for one in found:
        if all(one.end <= other.start or one.start >= other.end for other in chosen):
            chosen.append(one)
    return sorted(chosen, key=lambda f: f.start)


def _read(window: str) -> list[Found]:
    """Run the recognisers that could match; the words around a find are looked at only where there is one.

    This is what Presidio's own engine does with a text, in an order that costs most texts next to nothing.
    """
    from presidio_analyzer import EntityRecognizer

    entities = _possible(window)
    if not entities:
        return []
    presidio = _presidio()
    recognisers = [presidio.recognisers[entity] for entity in entities]
    raw = [found for recogniser in recognisers for found in recogniser.analyze(window, recogniser.supported_entities)]
    if any(found.score < EntityRecognizer.MAX_SCORE for found in raw):
        # What a check digit has proved cannot become surer by the words around it.
        raw = presidio.context.enhance_using_context(
            text=window,
            raw_results=raw,
            nlp_artifacts=presidio.tokens.process_text(window, "en"),
            recognizers=recognisers,
        )
    kept = EntityRecognizer.remove_duplicates([found for found in raw if found.score >= THRESHOLD])
    return [Found(r.entity_type, r.start, r.end, r.score) for r in kept]


def _possible(window: str) -> list[str]:
    """Return the words for the kinds that a text could hold: a condition that is cheap to see and never misses one."""
    found = ["EMAIL_ADDRESS"] if "@" in window else []
    found += [entity for entity, shape in _SHAPES.items() if shape.search(window)]
    digits = len(_DIGIT.findall(window))
    if digits < _FEWEST:
        return found
    run = max((len(_DIGIT.findall(one)) for one in _RUN.findall(window)), default=0)
    return found + [
        kind.entity
        for kind in KINDS
        if kind.digits >= _FEWEST and kind.entity not in _SHAPES and (run if kind.run else digits) >= kind.digits
    ]


def mask(value: str) -> str:
    """A find as it may be shown: its first and last character and its separators, all else as dots."""
    inner = "".join(c if c in _KEPT else "•" for c in value[1:-1])
    return value[:1] + inner + value[-1:] if len(value) > 2 else "•" * len(value)


def scan(splits: Mapping[str, str | Path], seed: int) -> dict[str, object]:
    """What is found in every column of these tables, by kind; examples are masked, rows count from 1.

    All rows are examined up to ROWS_EXAMINED rows and about CHARS_EXAMINED characters, else a sample of that size drawn
    with ``seed`` over all splits; of each cell the first CELL_CHARS characters. ``rows_with_findings``
    counts rows, a kind's ``count`` finds. Where a sample was examined, ``shapes`` says what all rows look like at a
    glance (see `shapes.count`); elsewhere it is empty.
    """
    sizes = {split: tables.count(path) for split, path in splits.items()}
    total = sum(sizes.values())
    examined = _size(splits.values(), total)
    chosen = _chosen(sizes, total, examined, seed)
    kinds: dict[str, dict[str, Any]] = {}
    flagged: set[tuple[str, int]] = set()
    cut = 0
    names = {kind.entity: kind.name for kind in KINDS}
    for split, path in splits.items():
        wanted = chosen[split]
        row = 0
        for batch in tables.batches(path):
            size = len(next(iter(batch.values())))
            for column, cells in batch.items():
                for offset, cell in enumerate(cells):
                    if not cell or (wanted is not None and row + offset not in wanted):
                        continue
                    cut += len(cell) > CELL_CHARS
                    for found in find(cell):
                        flagged.add((split, row + offset))
                        entry = kinds.setdefault(
                            found.entity, {"count": 0, "columns": Counter(), "examples": [], "rows": {}}
                        )
                        entry["count"] += 1
                        entry["columns"][column] += 1
                        entry["rows"][split, row + offset] = None
                        if len(entry["examples"]) < EXAMPLES:
                            entry["examples"].append(
                                {
                                    "split": split,
                                    "row": row + offset + 1,
                                    "column": column,
                                    "masked": mask(cell[found.start : found.end]),
                                    "score": round(found.score, 2),
                                }
                            )
            row += size
    return {
        "rows": total,
        "rows_examined": examined,
        "rows_with_findings": len(flagged),
        "cells_cut": cut,
        "kinds": [
            {
                "kind": entity,
                "name": names[entity],
                "count": entry["count"],
                "rows": len(entry["rows"]),
                "columns": dict(sorted(entry["columns"].items())),
                "examples": entry["examples"],
                "places": [{"split": s, "row": r + 1} for s, r in list(entry["rows"])[:ROWS_LISTED]],
            }
            for entity, entry in sorted(kinds.items(), key=lambda item: (-item[1]["count"], item[0]))
        ],
        "method": "Every row was examined."
        if examined == total
        else f"A random sample of {examined:,} of {total:,} rows was examined (seed {seed}).",
        "shapes": [] if examined == total else shapes.count(splits.values()),
        "cannot_find": CANNOT_FIND,
    }


def _size(paths: Iterable[str | Path], total: int) -> int:
    """How many rows to examine, from the mean length of a row."""
    chars = 0
    for path in paths:
        for batch in tables.batches(path):
            chars += sum(min(len(cell), CELL_CHARS) for cells in batch.values() for cell in cells if cell)
    by_chars = CHARS_EXAMINED * total // max(1, chars)
    return min(total, ROWS_EXAMINED, max(LEAST_ROWS, by_chars))


def _chosen(sizes: Mapping[str, int], total: int, examined: int, seed: int) -> dict[str, set[int] | None]:
    """The 0-based rows to examine per split; None means all."""
    if examined == total:
        return dict.fromkeys(sizes)
    picked = sorted(random.Random(seed).sample(range(total), examined))
    found: dict[str, set[int] | None] = {}
    start = 0
    for split, size in sizes.items():
        found[split] = {position - start for position in picked if start <= position < start + size}
        start += size
    return found
