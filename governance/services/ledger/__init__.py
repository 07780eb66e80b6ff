"""The ledger: the only writer of entries, the sequencer that seals them, and the check that everything is sound.

`record` runs inside the business transaction and fails closed: no entry, no commit. It does not serialise writers: an
entry gets its number later, when the one sequencer seals what has been committed.
"""

from governance.services.ledger.keys import NoKey, ensure_key, public_key
from governance.services.ledger.records import (
    VERSION,
    Change,
    LedgerError,
    body,
    changes,
    changes_of,
    record,
    request_id,
    text_digest,
    texts_of,
)
from governance.services.ledger.sealing import SEALING_LOCK, seal
from governance.services.ledger.verification import Report, check, verify

__all__ = [
    "SEALING_LOCK",
    "VERSION",
    "Change",
    "LedgerError",
    "NoKey",
    "Report",
    "body",
    "changes",
    "changes_of",
    "check",
    "ensure_key",
    "public_key",
    "record",
    "request_id",
    "seal",
    "text_digest",
    "texts_of",
    "verify",
]
