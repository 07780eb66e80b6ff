"""A mailbox of someone outside: each checkpoint is a message that the operator cannot take back."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from governance.anchors import Failed, Statement


def label(place: str) -> str:
    """Return the domain of the address; who exactly reads it is nobody's business."""
    return place.rpartition("@")[2]


def wrong(place: str) -> str:
    """Say where it is no address, or where mail goes nowhere."""
    try:
        validate_email(place)
    except ValidationError:
        return f"“{place}” is not an e-mail address."
    if settings.EMAIL_BACKEND.endswith((".console.EmailBackend", ".dummy.EmailBackend")):
        return "No mail leaves this machine: set EMAIL_HOST."
    return ""


def publish(place: str, statement: Statement) -> bytes:
    """Send the note as the body and as an attachment that a verifier takes as it is; raises Failed."""
    message = EmailMessage(
        subject=f"Checkpoint of {statement.size} entries: {statement.origin}",
        body=(
            f"Keep this message. It states that at {statement.at:%Y-%m-%d %H:%M:%S} UTC the ledger {statement.origin} "
            f"had {statement.size} entries and this root; an export that says otherwise is of another ledger.\n\n"
            f"{statement.note}"
        ),
        to=[place],
    )
    message.attach("checkpoint.txt", statement.note, "text/plain")
    try:
        message.send()
    except OSError as error:
        raise Failed(f"The mail server did not take the message: {error}."[:300]) from error
    return b""
