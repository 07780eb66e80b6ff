"""Tokens: made by their person or the operator, stored as a digest, refused once they ended."""

import datetime
import hashlib

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from governance.actions import Action
from governance.models import ApiToken, LedgerEntry
from governance.services import access, ledger, tokens

pytestmark = pytest.mark.postgres


def make(actor, user=None, **change):
    """Return (token, secret) as asked."""
    arguments = {"name": "script", "scopes": ["read"], "days": 7} | change
    return tokens.create(actor=actor, user=user or actor, **arguments)


def test_only_a_digest_is_stored(eve):
    token, secret = make(eve, scopes=["write", "read", "read"])
    assert secret.startswith("gh_")
    assert token.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert token.scopes == ["read", "write"]
    assert secret not in str(list(ApiToken.objects.values()))
    entry = LedgerEntry.objects.get(action=Action.TOKEN_CREATED)
    assert secret.encode() not in bytes(entry.canonical)


def test_a_secret_is_recognised_and_its_use_noted_once_a_minute(eve, django_assert_num_queries):
    token, secret = make(eve)
    found = tokens.authenticate(secret)
    assert found == token
    assert found.user.token == token
    token.refresh_from_db()
    assert token.last_used_at is not None
    with django_assert_num_queries(1):
        tokens.authenticate(secret)


@pytest.mark.parametrize("secret", ["", "gh_", "gh_wrong", "Bearer", "gh_" + "x" * 200])
def test_another_secret_is_not_recognised(eve, secret):
    make(eve)
    assert tokens.authenticate(secret) is None


def test_a_token_ends_with_its_date_its_revocation_and_its_person(eve):
    expired, first = make(eve)
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    revoked, second = make(eve)
    tokens.revoke(actor=eve, token=revoked)
    _token, third = make(eve)
    eve.is_active = False
    eve.save()
    for secret in (first, second, third):
        assert tokens.authenticate(secret) is None
    expired.refresh_from_db()
    assert (expired.state, revoked.state) == ("expired", "revoked")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["read", "fly"]}, "scopes"),
        ({"days": 0}, "days"),
        ({"days": tokens.MAX_DAYS + 1}, "days"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
    ],
)
def test_a_token_that_does_not_fit_is_refused_with_its_field(eve, change, field):
    with pytest.raises(tokens.Invalid) as refused:
        make(eve, **change)
    assert refused.value.field == field
    assert not ApiToken.objects.exists()


def test_nobody_makes_a_token_in_another_name(frank, carol, alice):
    for actor in (frank, alice):
        with pytest.raises(access.Denied) as refused:
            make(actor, carol, scopes=["review"])
        assert refused.value.code == "not_yours"
    assert not ApiToken.objects.exists()


def test_a_token_makes_no_token_and_ends_itself_alone(eve):
    other, _ = make(eve)
    own, secret = make(eve)
    actor = tokens.authenticate(secret).user
    with pytest.raises(access.Denied) as refused:
        make(actor)
    assert refused.value.code == "token_by_token"
    with pytest.raises(access.Denied):
        tokens.revoke(actor=actor, token=other)
    tokens.revoke(actor=actor, token=own)
    assert tokens.authenticate(secret) is None


def test_an_administrator_ends_a_token_of_another(frank, eve, alice):
    token, _secret = make(eve)
    with pytest.raises(access.Denied):
        tokens.revoke(actor=alice, token=token)
    tokens.revoke(actor=frank, token=token)
    tokens.revoke(actor=frank, token=token)
    assert LedgerEntry.objects.filter(action=Action.TOKEN_REVOKED).count() == 1


def test_the_shell_prints_the_token_alone_and_records_for_whom(eve, team, capsys, system):
    call_command("token", "--as", "Eve@example.org", "--scopes", "read, write", "--days", "3", "--name", "ci")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    token = tokens.authenticate(out.strip())
    assert (token.user, token.name, token.scopes) == (eve, "ci", ["read", "write"])
    entry = LedgerEntry.objects.get(action=Action.TOKEN_CREATED)
    assert (entry.actor, entry.on_behalf_of) == (system, eve)
    assert ledger.body(entry)["on_behalf_of"] == str(eve.ledger_id)
    call_command("token", "--as", "eve@example.org", "--scopes", "read", "--team", "helpdesk")
    assert tokens.authenticate(capsys.readouterr().out.strip()).scope_id == team.pk


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--as", "nobody@example.org", "--scopes", "read"], "Nobody has the e-mail address"),
        (["--as", "system@gatehouse.invalid", "--scopes", "read"], "Nobody has the e-mail address"),
        (["--as", "eve@example.org", "--scopes", "fly"], "Unknown scope “fly”"),
        (["--as", "eve@example.org", "--scopes", ","], "Choose from"),
        (["--as", "eve@example.org", "--scopes", "read", "--days", "0"], "from 1 to"),
        (["--as", "eve@example.org", "--scopes", "read", "--team", "x"], "no team"),
    ],
)
def test_the_shell_says_what_is_wrong(eve, system, arguments, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("token", *arguments)
    assert not ApiToken.objects.exists()
