"""The page on which a person confirms the code that a program of theirs shows."""

from __future__ import annotations

from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from governance.interfaces.declared import declares
from portal.forms import DeviceLoginForm
from portal.services import device_logins
from projects.services.fields import Invalid


@declares("signed_in")
@never_cache
@require_http_methods(["GET", "POST"])
def confirm(request):
    """Ask whether a program may act for the reader, and note the answer."""
    form = DeviceLoginForm(request.POST or None, initial={"code": request.GET.get("code", "")[:12]})
    login = None
    if request.method == "POST" and form.is_valid():
        allow = form.cleaned_data["answer"] == "allow"
        try:
            login = device_logins.decide(
                actor=request.user, code=form.cleaned_data["code"], allow=allow, scopes=form.cleaned_data["scopes"]
            )
        except Invalid as error:
            form.add_error(error.field or None, _(str(error)))
    context = {"form": form, "login": login, "hours": device_logins.DAYS * 24}
    return render(request, "portal/device_login.html", context, status=422 if form.errors else 200)
