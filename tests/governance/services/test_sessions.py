"""Sessions: noted at sign-in, ended by their person or an administrator, and dead at once then."""

import datetime

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from governance.actions import Action
from governance.models import ApiToken, BrowserSession, LedgerEntry
from governance.services import access, ledger, people, sessions, tokens

pytestmark = pytest.mark.postgres
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def sign_in(user, **change) -> BrowserSession:
    """Return a session that stands in the database as after a sign-in."""
    store = SessionStore()
    store["_auth_user_id"] = str(user.pk)
    store.create()
    given = {"method": "password", "address": "192.0.2.7", "device": FIREFOX} | change
    return sessions.begin(actor=user, key=store.session_key, **given)


def test_a_sign_in_says_where_and_how_and_its_address_can_be_erased(eve):
    session = sign_in(eve)
    assert session.browser == "Firefox on Linux"
    entry = LedgerEntry.objects.get(action=Action.SIGNED_IN)
    assert ledger.body(entry)["details"] == {"method": "password"}
    assert b"192.0.2.7" not in bytes(entry.canonical)
    assert ledger.texts_of(entry)["address"] == "192.0.2.7"


def test_what_ran_out_is_forgotten_at_the_next_sign_in(eve):
    old = sign_in(eve)
    BrowserSession.objects.filter(pk=old.pk).update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    assert not BrowserSession.objects.visible_to(eve).live().exists()
    new = sign_in(eve)
    assert list(BrowserSession.objects.all()) == [new]


def test_ending_one_kills_its_cookie_and_no_other(eve):
    one, other = sign_in(eve), sign_in(eve)
    sessions.end(actor=eve, session=one)
    assert not SessionStore().exists(one.key)
    assert SessionStore().exists(other.key)
    assert list(BrowserSession.objects.visible_to(eve)) == [other]
    entry = LedgerEntry.objects.get(action=Action.SESSION_ENDED)
    assert ledger.body(entry)["details"] == {"ended": 1, "why": "one"}


def test_ending_all_others_keeps_this_one(eve, alice):
    here = sign_in(eve)
    for _ in range(2):
        sign_in(eve)
    stays = sign_in(alice)
    assert sessions.end_all(actor=eve, user=eve, but=here.key) == 2
    assert {row.pk for row in BrowserSession.objects.all()} == {here.pk, stays.pk}
    assert sessions.end_all(actor=eve, user=eve, but=here.key) == 0
    assert LedgerEntry.objects.filter(action=Action.SESSION_ENDED).count() == 1


@pytest.mark.parametrize("person", ["alice", "bob", "carol", "dan", "eve"])
def test_nobody_but_an_administrator_ends_those_of_others(personas, person):
    session = sign_in(personas["frank"])
    actor = personas[person]
    for act in (
        lambda: sessions.end(actor=actor, session=session),
        lambda: sessions.end_all(actor=actor, user=personas["frank"]),
    ):
        with pytest.raises(access.Denied):
            act()
    assert SessionStore().exists(session.key)


def test_deactivating_ends_sessions_and_taking_back_does_not_revive_them(frank, eve):
    session = sign_in(eve)
    people.deactivate(actor=frank, user=eve, reason="Left.")
    people.reactivate(actor=frank, user=eve)
    assert not SessionStore().exists(session.key)
    assert not BrowserSession.objects.filter(user=eve).exists()


def test_a_new_password_signs_the_other_browsers_out(eve):
    here, other = sign_in(eve), sign_in(eve)
    people.password_changed(actor=eve, how="changed", session=here.key)
    assert SessionStore().exists(here.key)
    assert not SessionStore().exists(other.key)
    assert LedgerEntry.objects.filter(action=Action.PASSWORD_CHANGED, actor=eve).exists()


def test_a_token_sees_and_ends_sessions_only_with_the_scope_admin(eve):
    session = sign_in(eve)
    for scopes, allowed in ((["read", "write"], False), (["admin"], True)):
        _token, secret = tokens.create(actor=eve, user=eve, name="laptop", scopes=scopes, days=1)
        actor = tokens.authenticate(secret).user
        assert BrowserSession.objects.visible_to(actor).exists() is allowed
        if allowed:
            assert sessions.end_all(actor=actor, user=actor) == 1
        else:
            with pytest.raises(access.Denied, match="scope"):
                sessions.end(actor=actor, session=session)


def test_an_administrator_lists_tokens_of_others_and_nobody_else_does(personas):
    tokens.create(actor=personas["bob"], user=personas["bob"], name="laptop", scopes=["read"], days=1)
    for name, person in personas.items():
        assert ApiToken.objects.manageable_by(person).exists() is (name == "frank")
