"""What was said in calls, where a model's policy lets the site keep it: encrypted, for the stated days, then gone.

The key is a file that only the site reads; without it, and in a backup without it, bodies are noise. A lost key loses
bodies and nothing else. Encryption is Fernet (AES-128-CBC and HMAC-SHA256, https://github.com/fernet/spec).
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import timedelta
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.services import access, ledger
from portal.models import Body, GuardrailPolicy, QuotaCount, Usage

COUNTS_KEPT = timedelta(days=62)
"""For how long counts of quotas stay: longer than the longest window and any call in it."""


def keep(usage: Usage, said: dict) -> bool:
    """Keep what was said in a call if the policy of its model says so; return whether it is kept."""
    days = GuardrailPolicy.objects.filter(model=usage.model).values_list("keep_days", flat=True).first()
    if not days:
        return False
    sealed = _fernet().encrypt(json.dumps(said, ensure_ascii=False).encode())
    Body.objects.create(usage=usage, sealed=sealed, purge_at=timezone.now() + timedelta(days=days))
    return True


def opened(usage: Usage) -> dict | None:
    """Return what was said in a call, or None where it was not kept, is gone, or cannot be read with today's key."""
    body = Body.objects.filter(usage=usage, purge_at__gt=timezone.now()).first()
    return read(body) if body is not None else None


def read(body: Body) -> dict | None:
    """Return what a body holds, or None where today's key does not open it."""
    try:
        return json.loads(_fernet().decrypt(bytes(body.sealed)))
    except InvalidToken:
        return None


@transaction.atomic
def purge(*, actor: User) -> int:
    """Delete the bodies whose days are over, and counts of windows long past; return how many bodies."""
    access.require(actor, "site.administer")
    QuotaCount.objects.filter(begins_at__lt=timezone.now() - COUNTS_KEPT).delete()
    gone = Body.objects.filter(purge_at__lte=timezone.now()).delete()[0]
    if gone:
        ledger.record(Action.BODIES_PURGED, actor=actor, details={"bodies": gone})
    return gone


def _fernet() -> Fernet:
    return Fernet(_key(Path(settings.BODIES_KEY_FILE)))


def _key(path: Path) -> bytes:
    """Return the key, made at first use; of two processes that make it at once both use the one that was first."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Fernet.generate_key())
        try:
            # A link fails where the name is taken; a rename would replace a key that may be in use.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()
