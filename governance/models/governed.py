"""What a model declares about its table: that its rows change only in a transaction that records an entry, or why not.

A declaration is the class attribute `governed`. A model that says nothing is governed; tests/architecture asks every
model of the four packages to say it. The declarations are made true by `governance.guards` on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Governed:
    """Rows are inserted, changed and deleted only where the same transaction records a ledger entry.

    `operational` columns may change without one: leases, heartbeats, the time of the last use. `moves` are changes of
    one column from one value to another that count as operational too. `born` is the value by which rows are
    known that may be inserted without an entry, as (column, value).
    """

    operational: tuple[str, ...] = ()
    moves: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    born: tuple[str, str] | None = None


@dataclass(frozen=True)
class Exempt:
    """Rows may change without an entry, for this reason."""

    reason: str


@dataclass(frozen=True)
class Rights:
    """What the site's and the sequencer's database roles may do with a table, in the words of GRANT.

    A declaration is the class attribute `rights`; a model that says nothing is the site's to read and write, and
    nothing to the sequencer.
    """

    site: str = "SELECT, INSERT, UPDATE, DELETE"
    sequencer: str = ""


RIGHTS_OF_OTHERS: dict[str, Rights] = {
    "contenttypes.contenttype": Rights(site="SELECT"),
    "auth.permission": Rights(site="SELECT"),
    "migrations.migration": Rights(site="SELECT"),
}
"""Tables that migrations fill and the site only reads."""


_WORK = Exempt("It is work of a library that decides nothing: rows come and go, and nobody is let in by one.")

OF_OTHERS: dict[str, Governed | Exempt] = {
    # Each row is a right: access reads the first and gives what it says.
    "guardian.userobjectpermission": Governed(),
    "guardian.groupobjectpermission": Governed(),
    # Each row lets somebody in. Codes that were used and the counters of keys are kept in `data`, encrypted under a
    # key that the database does not hold; they change at every sign-in.
    "mfa.authenticator": Governed(operational=("data", "last_used_at")),
    "socialaccount.socialaccount": Governed(operational=("last_login", "extra_data")),
    # allauth notes the address with which somebody signs in, unverified. Such a row opens nothing: a mailed link goes
    # to the account's own address alone (portal.accounts.passwords).
    "account.emailaddress": Governed(born=("verified", "false")),
    "account.emailconfirmation": Exempt("No address is confirmed by mail here; the table stays empty."),
    "socialaccount.socialapp": Exempt("Providers come from the settings alone; no row of it is read."),
    "socialaccount.socialtoken": Exempt("What providers send is not kept; the table stays empty."),
    "sessions.session": Exempt("A session lets nobody in without its row in BrowserSession, which is governed."),
    "auth.permission": Exempt(
        "Migrations fill it; the site's login cannot write to it, and access names what it reads."
    ),
    "auth.group": Exempt("Nothing here gives a right through groups; roles are rows of their own."),
    "contenttypes.contenttype": Exempt("Migrations fill it; the site's login cannot write to it."),
    "admin.logentry": Exempt("The admin is read-only, so it notes nothing; the ledger is the record."),
    "axes.accessattempt": Exempt("Counts wrong passwords; each is an entry of its own, and so is opening a lock."),
    "axes.accessattemptexpiration": _WORK,
    "axes.accesslog": _WORK,
    "axes.accessfailurelog": _WORK,
}
"""Every table of a library, by model label: governed where a row is a right or lets somebody in, else why not."""


def rights(model) -> Rights:
    """Return what the database roles may do with the model's table."""
    known = RIGHTS_OF_OTHERS.get(model._meta.label_lower)
    return known or vars(model).get("rights") or Rights()


def declaration(model) -> Governed | Exempt | None:
    """Return what governs the model's table, or None for a table of a library that holds no right of ours.

    The table of a many-to-many relation follows the model that declares the relation.
    """
    if model._meta.auto_created:
        owner = declaration(model._meta.auto_created)
        return Governed() if isinstance(owner, Governed) else owner
    known = OF_OTHERS.get(model._meta.label_lower)
    if known is not None:
        return known
    declared = getattr(model, "governed", None)
    if declared is not None:
        return declared
    return Governed() if model._meta.app_label in {"governance", "projects", "training", "portal"} else None
