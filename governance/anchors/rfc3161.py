"""A time stamping authority (RFC 3161): a third party signs that it saw this checkpoint at that time.

A token counts only when it verifies against the roots in the file LEDGER_TSA_ROOTS (PEM), and is kept as the proof.
"""

from __future__ import annotations

import datetime
import urllib.parse
from pathlib import Path

import httpx
from cryptography import x509
from django.conf import settings
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from governance.anchors import BadSetting, Failed, Statement

SECONDS = 10
LONGEST_ANSWER = 256 * 1024


def label(place: str) -> str:
    """Return the scheme and the host."""
    parts = urllib.parse.urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def wrong(place: str) -> str:
    """Say where it is no web address, or LEDGER_TSA_ROOTS cannot be used."""
    parts = urllib.parse.urlsplit(place)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"“{label(place)}” is not a web address; write it as https://host/path."
    try:
        _roots()
    except BadSetting as error:
        return str(error)
    return ""


def publish(place: str, statement: Statement) -> bytes:
    """Ask for a time stamp over the note and return the answer, verified; raises Failed, BadSetting."""
    roots = _roots()
    asked = TimestampRequestBuilder().data(statement.note.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
    headers = {"content-type": "application/timestamp-query"}
    try:
        answer = httpx.post(place, content=asked.as_bytes(), headers=headers, timeout=SECONDS, follow_redirects=False)
    except httpx.HTTPError as error:
        raise Failed(f"{label(place)} did not answer: {type(error).__name__}.") from error
    if not answer.is_success or len(answer.content) > LONGEST_ANSWER:
        raise Failed(f"{label(place)} answered {answer.status_code} with {len(answer.content)} bytes.")
    _verified(answer.content, statement.note, roots, asked)
    return answer.content


def stamped_at(proof: bytes, note: str) -> datetime.datetime:
    """Return when the authority saw the note; raises Failed where the token does not verify, BadSetting."""
    return _verified(proof, note, _roots(), None)


def _verified(
    proof: bytes, note: str, roots: list[x509.Certificate], asked: TimeStampRequest | None
) -> datetime.datetime:
    builder = VerifierBuilder.from_request(asked) if asked is not None else VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        answer = decode_timestamp_response(proof)
        builder.build().verify_message(answer, note.encode())
    except (ValueError, VerificationError) as error:
        raise Failed(f"The time stamp does not verify: {error}."[:300]) from error
    return answer.tst_info.gen_time


def _roots() -> list[x509.Certificate]:
    if not settings.LEDGER_TSA_ROOTS:
        raise BadSetting("LEDGER_TSA_ROOTS names no file: give the authority's root certificates in PEM.")
    try:
        return x509.load_pem_x509_certificates(Path(settings.LEDGER_TSA_ROOTS).read_bytes())
    except (OSError, ValueError) as error:
        raise BadSetting(f"LEDGER_TSA_ROOTS cannot be read as certificates in PEM: {error}.") from error
