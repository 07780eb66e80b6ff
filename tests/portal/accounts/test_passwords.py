"""What lets a person in changes only beside an entry, through the pages and past them; who comes from outside gets no
password by mail."""

import re

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from governance.actions import Action
from governance.models import LedgerEntry, User
from governance.services import factors, ledger, people
from tests.personas import PASSWORD
from tests.portal.accounts.test_factors import confirm, set_up_app, sign_in
from tests.recorded import recorded

# The database asks for the entry when a transaction commits.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]
NEW = "another-horse-battery-7"


def newest() -> tuple[str, dict]:
    """Return the newest entry's action and details."""
    entry = LedgerEntry.objects.latest("pk")
    return entry.action, ledger.body(entry)["details"]


def test_nobody_is_let_in_past_the_ledger(eve, frank):
    def refused(act) -> None:
        if connection.vendor != "postgresql":
            return
        with pytest.raises(IntegrityError, match="has no ledger entry"), transaction.atomic():
            act()

    refused(lambda: User.objects.filter(pk=eve.pk).update(password=frank.password))
    refused(lambda: Authenticator.objects.create(user=eve, type="totp", data={"secret": "x"}))
    refused(lambda: SocialAccount.objects.create(user=eve, provider="oidc", uid="mallory"))
    refused(lambda: EmailAddress.objects.create(user=eve, email="mallory@example.org", primary=True, verified=True))
    with recorded():
        held = SocialAccount.objects.create(user=eve, provider="oidc", uid="eve")
        Authenticator.objects.create(user=frank, type="totp", data={"secret": "x"})
    refused(lambda: SocialAccount.objects.filter(pk=held.pk).update(user=frank))
    refused(lambda: Authenticator.objects.all().delete())
    # What the library counts by itself needs none.
    SocialAccount.objects.get(pk=held.pk).save()
    Authenticator.objects.get().record_usage()


def test_checking_a_password_writes_nothing_and_signing_in_hashes_it_anew_with_an_entry(eve, settings):
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    before = eve.password
    assert before.startswith("md5$")
    assert eve.check_password(PASSWORD)
    assert not eve.check_password("wrong")
    assert User.objects.get(pk=eve.pk).password == before
    sign_in(eve)
    eve.refresh_from_db()
    assert eve.password.startswith("scrypt$")
    assert eve.check_password(PASSWORD)
    changed = LedgerEntry.objects.filter(action=Action.PASSWORD_CHANGED, actor=eve)
    assert [ledger.body(entry)["details"] for entry in changed] == [{"how": "hashed anew"}]
    sign_in(eve)
    assert changed.count() == 1
    assert not people.renew_hash(actor=eve, password=PASSWORD)


def test_a_password_is_changed_on_its_page(eve):
    client, _ = sign_in(eve)
    path = reverse("account_change_password")
    confirm(client, path)
    answer = client.post(path, {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert answer.status_code == 302
    eve.refresh_from_db()
    assert eve.check_password(NEW)
    assert newest() == (Action.PASSWORD_CHANGED, {"how": "changed"})


def link_for(address: str) -> str:
    """Ask for a new password and return the link in the mail, or nothing where it holds none."""
    client = Client()
    mail.outbox.clear()
    answer = client.post(reverse("account_reset_password"), {"email": address})
    assert answer.url == reverse("account_reset_password_done")
    found = re.search(r"/account/password/reset/key/\S+", mail.outbox[0].body)
    return found[0] if found else ""


def use(link: str):
    """Open the link and choose a new password there."""
    client = Client()
    return client.post(client.get(link).url, {"password1": NEW, "password2": NEW})


def test_a_password_is_reset_through_a_mail(eve):
    assert use(link_for(eve.email)).status_code == 302
    eve.refresh_from_db()
    assert eve.check_password(NEW)
    assert Action.PASSWORD_CHANGED in LedgerEntry.objects.filter(actor=eve).values_list("action", flat=True)


def test_a_link_goes_to_the_accounts_own_address_alone(eve, frank):
    # What allauth notes at every sign-in may be written without an entry; it leads nowhere.
    EmailAddress.objects.create(user=frank, email="mallory@example.org")
    client = Client()
    client.post(reverse("account_reset_password"), {"email": "mallory@example.org"})
    assert mail.outbox == []
    assert link_for(frank.email)


@pytest.fixture
def outside(eve):
    """Return eve as she is when only her organisation signs her in."""
    with recorded():
        SocialAccount.objects.create(user=eve, provider="oidc", uid="eve")
    people.drop_password(actor=eve)
    return User.objects.get(pk=eve.pk)


def test_who_signs_in_through_their_organisation_gets_no_password_by_mail(outside):
    assert link_for(outside.email) == ""
    assert "sign in through your organisation" in mail.outbox[0].body
    assert not User.objects.get(pk=outside.pk).has_usable_password()


def test_a_link_that_was_sent_before_the_account_was_linked_is_refused(eve):
    link = link_for(eve.email)
    assert link
    with recorded():
        SocialAccount.objects.create(user=eve, provider="oidc", uid="eve")
    # The link itself dies with the old password; what refuses the form is asked all the same.
    people.drop_password(actor=eve)
    assert "no longer works" in Client().get(link, follow=True).text
    from portal.accounts.passwords import ResetPasswordKeyForm

    form = ResetPasswordKeyForm({"password1": NEW, "password2": NEW}, user=User.objects.get(pk=eve.pk))
    assert not form.is_valid()
    assert "through your organisation" in str(form.errors)


def test_nor_by_choosing_a_first_one_when_signed_in(outside):
    client = Client()
    client.force_login(outside)
    path = reverse("account_set_password")
    page = client.post(path, {"password1": NEW, "password2": NEW})
    assert (page.status_code, "through your organisation" in page.text) == (200, True)
    assert not User.objects.get(pk=outside.pk).has_usable_password()


def test_whoever_has_neither_chooses_a_first_password(eve):
    people.drop_password(actor=eve)
    client = Client()
    client.force_login(User.objects.get(pk=eve.pk))
    answer = client.post(reverse("account_set_password"), {"password1": NEW, "password2": NEW})
    assert answer.status_code == 302
    assert newest() == (Action.PASSWORD_CHANGED, {"how": "set"})


def test_factors_change_beside_their_entries(eve):
    client, _ = sign_in(eve)
    set_up_app(client)
    client.post(reverse("mfa_generate_recovery_codes"))
    assert newest() == (Action.FACTOR_CHANGED, {"type": "recovery_codes", "what": "codes"})
    with recorded():
        key = Authenticator.objects.create(user=eve, type="webauthn", data={"name": "Old key", "credential": {}})
    answer = client.post(reverse("mfa_edit_webauthn", args=[key.pk]), {"name": "Blue key"})
    assert answer.status_code == 302
    assert [factor.name for factor in factors.of(eve) if factor.type == "webauthn"] == ["Blue key"]
    assert newest() == (Action.FACTOR_CHANGED, {"type": "webauthn", "what": "name"})
    client.post(reverse("mfa_remove_webauthn", args=[key.pk]))
    assert newest() == (Action.FACTOR_REMOVED, {"type": "webauthn"})
    client.post(reverse("mfa_deactivate_totp"))
    assert not Authenticator.objects.exists()


def test_the_operator_sets_a_password_in_the_shell_with_an_entry(eve, monkeypatch, capsys):
    with pytest.raises(CommandError, match="Nobody has the address"):
        call_command("changepassword", "nobody@example.org")
    with pytest.raises(CommandError, match="no terminal"):
        call_command("changepassword", eve.email)
    typed = iter([NEW, "something else", "short", "short", NEW, NEW])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    with pytest.raises(CommandError, match="differ"):
        call_command("changepassword", eve.email)
    with pytest.raises(CommandError, match="too short"):
        call_command("changepassword", eve.email)
    call_command("changepassword", eve.email)
    assert "has the new password" in capsys.readouterr().out
    assert User.objects.get(pk=eve.pk).check_password(NEW)
    assert newest()[0] == Action.PASSWORD_ISSUED
