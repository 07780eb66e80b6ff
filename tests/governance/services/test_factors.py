"""Second factors: who needs one, and how an administrator takes them from somebody who lost theirs."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import access, factors, ledger

pytestmark = pytest.mark.postgres


def enrol(user) -> Authenticator:
    """Return an authenticator app that the person has set up."""
    return TOTP.activate(user, generate_totp_secret()).instance


def test_a_factor_is_listed_by_name_without_its_secret(eve):
    enrol(eve)
    (found,) = factors.of(eve)
    assert (found.type, found.name) == ("totp", "TOTP Authenticator")
    assert factors.has_any(eve)


def test_the_secret_lies_encrypted_in_the_database(eve, settings):
    secret = generate_totp_secret()
    TOTP.activate(eve, secret)
    row = Authenticator.objects.get()
    assert secret not in str(row.data)
    from portal.accounts.factors import FactorAdapter

    assert FactorAdapter().decrypt(row.data["secret"]) == secret
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-key-" * 5, [settings.SECRET_KEY]
    assert FactorAdapter().decrypt(row.data["secret"]) == secret
    settings.SECRET_KEY_FALLBACKS = []
    lost = {FactorAdapter().decrypt(row.data["secret"]) for _ in range(2)}
    assert len(lost) == 2, "a secret that is lost must not turn into one that can be guessed"


@pytest.mark.parametrize(
    ("person", "needs"),
    [
        ("alice", []),
        ("bob", []),
        ("carol", ["reviewer"]),
        ("dan", ["auditor"]),
        ("eve", []),
        ("frank", ["administrator"]),
    ],
)
def test_roles_that_decide_read_all_or_administer_need_one(personas, settings, person, needs):
    assert factors.roles_that_need_one(personas[person]) == []
    settings.MFA_REQUIRED_ROLES = {"administrator", "auditor", "reviewer"}
    assert factors.roles_that_need_one(personas[person]) == needs


def test_only_an_administrator_takes_them_away_with_a_reason_and_not_their_own(personas):
    frank, eve = personas["frank"], personas["eve"]
    enrol(eve)
    enrol(frank)
    for name in ("alice", "carol", "dan", "eve"):
        with pytest.raises(access.Denied):
            factors.remove_all(actor=personas[name], user=frank, reason="Lost.")
    with pytest.raises(access.Denied):
        factors.remove_all(actor=frank, user=frank, reason="Lost.")
    with pytest.raises(factors.Invalid):
        factors.remove_all(actor=frank, user=eve, reason=" ")
    assert factors.remove_all(actor=frank, user=eve, reason="Lost the phone.") == 1
    assert factors.remove_all(actor=frank, user=eve, reason="Again.") == 0
    entry = LedgerEntry.objects.get(action=Action.FACTOR_REMOVED)
    assert ledger.body(entry)["details"] == {"types": ["totp"]}
    assert ledger.texts_of(entry) == {"reason": "Lost the phone."}
