"""Finds personal data that has a shape (addresses, numbers with check digits) in tables; says what it cannot find.

Presidio's pattern recognisers do the finding, without a language model and without the network.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from projects import tables

ROWS_EXAMINED = 20_000
CELL_CHARS = 10_000
EXAMPLES = 5
ROWS_LISTED = 200
THRESHOLD = 0.4


class Kind(NamedTuple):
    """A kind of personal data: Presidio's recogniser and word for it, ours, and the fewest digits that one has."""

    recogniser: str
    entity: str
    name: str
    digits: int


KINDS = (
    Kind("EmailRecognizer", "EMAIL_ADDRESS", "e-mail address", 0),
    Kind("IpRecognizer", "IP_ADDRESS", "IP address", 1),
    Kind("MacAddressRecognizer", "MAC_ADDRESS", "network card address", 1),
    Kind("CreditCardRecognizer", "CREDIT_CARD", "payment card number", 12),
    Kind("IbanRecognizer", "IBAN_CODE", "bank account number (IBAN)", 7),
    Kind("PhoneRecognizer", "PHONE_NUMBER", "telephone number", 7),
    Kind("UsSsnRecognizer", "US_SSN", "social security number (US)", 9),
    Kind("UsItinRecognizer", "US_ITIN", "taxpayer number (US)", 9),
    Kind("NhsRecognizer", "UK_NHS", "NHS number (UK)", 10),
    Kind("UkNinoRecognizer", "UK_NINO", "national insurance number (UK)", 6),
    Kind("EsNifRecognizer", "ES_NIF", "tax number (Spain, NIF)", 7),
    Kind("EsNieRecognizer", "ES_NIE", "foreigner number (Spain, NIE)", 7),
    Kind("ItFiscalCodeRecognizer", "IT_FISCAL_CODE", "fiscal code (Italy)", 7),
    Kind("PlPeselRecognizer", "PL_PESEL", "personal number (Poland, PESEL)", 11),
    Kind("FiPersonalIdentityCodeRecognizer", "FI_PERSONAL_IDENTITY_CODE", "personal identity code (Finland)", 9),
    Kind("SePersonnummerRecognizer", "SE_PERSONNUMMER", "personal number (Sweden)", 10),
    Kind("DeTaxIdRecognizer", "DE_TAX_ID", "tax number (Germany)", 11),
    Kind("CaSinRecognizer", "CA_SIN", "social insurance number (Canada)", 9),
    Kind("InAadhaarRecognizer", "IN_AADHAAR", "Aadhaar number (India)", 12),
    Kind("InPanRecognizer", "IN_PAN", "permanent account number (India)", 4),
    Kind("KrRrnRecognizer", "KR_RRN", "resident registration number (Korea)", 13),
    Kind("SgFinRecognizer", "SG_NRIC_FIN", "identity number (Singapore)", 7),
    Kind("AuTfnRecognizer", "AU_TFN", "tax file number (Australia)", 9),
)
_PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "BR")
CANNOT_FIND = (
    "Names, street addresses, dates of birth, job titles and descriptions of a person are not found: they have no "
    "fixed shape. A number that happens to have a right check digit may be reported without being one. Read a sample "
    "yourself."
)
_DIGIT = re.compile(r"\d")
# The separators that a mask keeps, so that a reader still sees the shape.
_KEPT = frozenset("@.-/ :()+")


@cache
def _analyzer() -> Any:
    """Presidio's engine over a blank tokenizer; imported on first use, since it takes seconds and much memory."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
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

    recognisers: list[Any] = [Email(supported_language="en")]
    for kind in KINDS[1:]:
        build = getattr(predefined_recognizers, kind.recogniser)
        if kind.entity == "PHONE_NUMBER":
            recognisers.append(build(supported_language="en", supported_regions=_PHONE_REGIONS))
        else:
            recognisers.append(build(supported_language="en"))
    registry = RecognizerRegistry(recognizers=recognisers, supported_languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])


class Found(NamedTuple):
    """One find in a text: Presidio's word for its kind, where it is, and how sure the recogniser is (0 to 1)."""

    entity: str
    start: int
    end: int
    score: float


def find(text: str) -> list[Found]:
    """What is found in one text, in order, without overlaps: of two readings of one place the surer counts.

    Only recognisers that could match are run: most texts have neither an ``@`` nor enough digits for any of them.
    """
    text = text[:CELL_CHARS]
    digits = len(_DIGIT.findall(text))
    # An IPv6 address may be written with letters and colons alone.
    colons = text.count(":") >= 2
    entities = [
        kind.entity
        for kind in KINDS
        if ("@" in text if kind.digits == 0 else digits >= kind.digits or (colons and kind.digits == 1))
    ]
    entities = [
        e for e in entities if e not in ("IP_ADDRESS", "MAC_ADDRESS") or colons or (digits >= 4 and "." in text)
    ]
    if not entities:
        return []
    results = _analyzer().analyze(text, language="en", entities=entities, score_threshold=THRESHOLD)
    order = {kind.entity: position for position, kind in enumerate(KINDS)}
    results.sort(key=lambda r: (-r.score, -(r.end - r.start), order[r.entity_type], r.start))
    chosen: list[Found] = []
    for result in results:
        if all(result.end <= other.start or result.start >= other.end for other in chosen):
            chosen.append(Found(result.entity_type, result.start, result.end, result.score))
    return sorted(chosen, key=lambda found: found.start)


def mask(value: str) -> str:
    """A find as it may be shown: its first and last character and its separators, all else as dots."""
    inner = "".join(c if c in _KEPT else "•" for c in value[1:-1])
    return value[:1] + inner + value[-1:] if len(value) > 2 else "•" * len(value)


def scan(splits: Mapping[str, str | Path], seed: int) -> dict[str, object]:
    """What is found in every column of these tables, by kind; examples are masked, rows count from 1.

    All rows are examined up to ROWS_EXAMINED, else a sample of that size drawn with ``seed``, in proportion to the
    splits; of each cell the first CELL_CHARS characters. ``rows_with_findings`` counts rows, a kind's ``count`` finds.
    """
    sizes = {split: tables.count(path) for split, path in splits.items()}
    total = sum(sizes.values())
    chosen = _chosen(sizes, total, seed)
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
    examined = min(total, ROWS_EXAMINED)
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
        "cannot_find": CANNOT_FIND,
    }


def _chosen(sizes: Mapping[str, int], total: int, seed: int) -> dict[str, set[int] | None]:
    """The 0-based rows to examine per split; None means all."""
    if total <= ROWS_EXAMINED:
        return dict.fromkeys(sizes)
    picked = sorted(random.Random(seed).sample(range(total), ROWS_EXAMINED))
    found: dict[str, set[int] | None] = {}
    start = 0
    for split, size in sizes.items():
        found[split] = {position - start for position in picked if start <= position < start + size}
        start += size
    return found
