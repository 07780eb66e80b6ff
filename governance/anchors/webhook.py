"""A signed webhook in the Standard Webhooks form. The address is the operator's setting; no user names one.

The signature is HMAC-SHA256 over `id.timestamp.body` with LEDGER_WEBHOOK_SECRET (base64 after `whsec_`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
import urllib.parse

import httpx
from django.conf import settings

from governance.anchors import BadSetting, Failed, Statement

SECONDS = 10


def label(place: str) -> str:
    """Return the scheme and the host: a path may hold a secret."""
    parts = urllib.parse.urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def wrong(place: str) -> str:
    """Say where it is no web address, or LEDGER_WEBHOOK_SECRET cannot be used."""
    parts = urllib.parse.urlsplit(place)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"“{label(place)}” is not a web address; write it as https://host/path."
    try:
        secret()
    except BadSetting as error:
        return str(error)
    return ""


def publish(place: str, statement: Statement) -> bytes:
    """Post the checkpoint; any answer of 2xx is a receipt, of which the first 1,000 bytes are kept. Raises Failed."""
    body = json.dumps(
        {
            "type": "ledger.checkpoint",
            "timestamp": statement.at.isoformat(),
            "data": {
                "origin": statement.origin,
                "size": statement.size,
                "root": statement.root.hex(),
                "note": statement.note,
            },
        }
    ).encode()
    # The same checkpoint has the same id, so that a receiver can tell a repetition.
    identity = f"checkpoint_{statement.size}_{statement.root.hex()[:16]}"
    moment = str(int(time.time()))
    headers = {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": moment,
        "webhook-signature": signature(secret(), identity, moment, body),
    }
    try:
        answer = httpx.post(place, content=body, headers=headers, timeout=SECONDS, follow_redirects=False)
    except httpx.HTTPError as error:
        raise Failed(f"{label(place)} did not answer: {type(error).__name__}.") from error
    if not answer.is_success:
        raise Failed(f"{label(place)} answered {answer.status_code}.")
    return answer.content[:1000]


def secret() -> bytes:
    """Return the secret that both sides know; raises BadSetting."""
    try:
        found = base64.b64decode(settings.LEDGER_WEBHOOK_SECRET.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise BadSetting("LEDGER_WEBHOOK_SECRET is not base64; write it as whsec_… .") from error
    if len(found) < 24:
        raise BadSetting("LEDGER_WEBHOOK_SECRET must hold at least 24 random bytes in base64.")
    return found


def signature(key: bytes, identity: str, moment: str, body: bytes) -> str:
    """Return the value of the header webhook-signature."""
    digest = hmac.new(key, f"{identity}.{moment}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
