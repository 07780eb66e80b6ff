"""The ledger: the only writer of entries, the sequencer that seals them, and the check that everything is sound.

`record` runs inside the business transaction and fails closed: no entry, no commit. It does not serialise writers: an
entry gets its number later, when the one sequencer seals what has been committed.
"""

from governance.services.ledger.anchoring import anchor_due, covering, kept, newest
from governance.services.ledger.background import ask, ring_again
from governance.services.ledger.background import run as run_verification
from governance.services.ledger.erasure import Invalid, erase_entry, erase_person, reason_of
from governance.services.ledger.export import Export, begin, pieces
from governance.services.ledger.keys import NoKey, ensure_key, public_key
from governance.services.ledger.proofs import NotSealed, consistency, inclusion
from governance.services.ledger.receipts import consistency_from, decision_entry, keys_until, receipt_for, send_due
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
from governance.services.ledger.sealing import SEALING_LOCK, rotate_key, seal
from governance.services.ledger.verification import BadPin, Pin, Report, check, pins_of, verify

__all__ = [
    "SEALING_LOCK",
    "VERSION",
    "BadPin",
    "Change",
    "Export",
    "Invalid",
    "LedgerError",
    "NoKey",
    "NotSealed",
    "Pin",
    "Report",
    "anchor_due",
    "ask",
    "begin",
    "body",
    "changes",
    "changes_of",
    "check",
    "consistency",
    "consistency_from",
    "covering",
    "decision_entry",
    "ensure_key",
    "erase_entry",
    "erase_person",
    "inclusion",
    "kept",
    "keys_until",
    "newest",
    "pieces",
    "pins_of",
    "public_key",
    "reason_of",
    "receipt_for",
    "record",
    "request_id",
    "ring_again",
    "rotate_key",
    "run_verification",
    "seal",
    "send_due",
    "text_digest",
    "texts_of",
    "verify",
]
