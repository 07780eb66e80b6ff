"""Django's own admin shows our read-only pages and nothing else, and is entered through our sign-in.

The packages that we use register pages on which a superuser could change rows past every check and record; loaded last,
this takes them away.
"""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.shortcuts import redirect

from governance.interfaces.declared import declares

OURS = {"governance", "projects", "training"}


@declares("signed_in")
def password_change(request, extra_context=None):
    """Lead to our own page, which records the change and ends other sessions."""
    return redirect("account_change_password")


for model, page in list(admin.site._registry.items()):
    if type(page).__module__.split(".")[0] not in OURS:
        admin.site.unregister(model)

admin.site.login = secure_admin_login(admin.site.login)
admin.site.password_change = password_change
