"""Which of allauth's pages exist here. What is not listed cannot be reached, whatever allauth brings.

There is no signing up, no confirming of addresses and no linking by hand: people and their addresses come from an
administrator or from the organisation's own sign-in.
"""

from __future__ import annotations

from allauth.account import views as account
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from allauth.socialaccount.providers.openid_connect import views as oidc
from allauth.socialaccount.providers.saml import views as saml
from django.urls import include, path, re_path

from portal.accounts import sso
from portal.accounts.factors import recorded
from portal.accounts.recording import together

FACTORS = [
    path("", factors.index, name="mfa_index"),
    path("authenticate/", factors.authenticate, name="mfa_authenticate"),
    path("reauthenticate/", factors.reauthenticate, name="mfa_reauthenticate"),
    path("app/add/", recorded(totp.activate_totp), name="mfa_activate_totp"),
    path("app/remove/", recorded(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("recovery-codes/", recovery_codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("recovery-codes/renew/", recorded(recovery_codes.generate_recovery_codes), name="mfa_generate_recovery_codes"),
    path("recovery-codes/download/", recovery_codes.download_recovery_codes, name="mfa_download_recovery_codes"),
    path("passkeys/", webauthn.list_webauthn, name="mfa_list_webauthn"),
    path("passkeys/add/", recorded(webauthn.add_webauthn), name="mfa_add_webauthn"),
    path("passkeys/login/", webauthn.login_webauthn, name="mfa_login_webauthn"),
    path("passkeys/reauthenticate/", webauthn.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("passkeys/<int:pk>/remove/", recorded(webauthn.remove_webauthn), name="mfa_remove_webauthn"),
    path("passkeys/<int:pk>/rename/", recorded(webauthn.edit_webauthn), name="mfa_edit_webauthn"),
]

SSO = [
    path("saml/<slug:organization_slug>/login/", sso.explained(saml.login), name="saml_login"),
    path("saml/<slug:organization_slug>/acs/", sso.explained(saml.acs), name="saml_acs"),
    path("saml/<slug:organization_slug>/acs/finish/", sso.explained(saml.finish_acs), name="saml_finish_acs"),
    path("saml/<slug:organization_slug>/metadata/", sso.explained(saml.metadata), name="saml_metadata"),
    path("saml/<slug:organization_slug>/sls/", sso.absent, name="saml_sls"),
    path("oidc/<slug:provider_id>/login/", sso.explained(oidc.login), name="openid_connect_login"),
    path("oidc/<slug:provider_id>/login/callback/", sso.explained(oidc.callback), name="openid_connect_callback"),
]

urlpatterns = [
    path("login/", account.login, name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("password/change/", together(account.password_change), name="account_change_password"),
    path("password/set/", together(account.password_set), name="account_set_password"),
    path("password/reset/", account.password_reset, name="account_reset_password"),
    path("password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    path("password/reset/key/done/", account.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        together(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path("factors/", include(FACTORS)),
    path("sso/", include(SSO)),
]
