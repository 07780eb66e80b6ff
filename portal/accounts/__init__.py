"""The door: how people sign in through allauth, and what of their coming and going the ledger holds.

Signing in by password, passkey or single sign-on is allauth's; what it may do here is in its adapters (`adapter`,
`factors`, `sso`), which of its pages exist is in `urls`, and what is recorded is in `recording`.
"""
