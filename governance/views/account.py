"""One's own account: name, time zone, roles and since when, how one signs in and where one is, and tokens."""

from __future__ import annotations

import datetime
import zoneinfo

from django.conf import settings
from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from governance.forms import SCOPE_WORDS, ProfileForm, TokenForm, permissions_of
from governance.interfaces.declared import declares
from governance.models import ApiToken, BrowserSession
from governance.models.roles import ROLE_CHOICES
from governance.policy import TokenScope
from governance.services import access, factors, people, sessions, tokens

WARN_DAYS = 7
"""How long before its end a token is named on the account's page."""


def with_teams(assignments) -> list:
    """Return the assignments as a list, each with its team as `team` (None for the organisation), in one query."""
    found = list(assignments)
    teams = access.scope_model().objects.in_bulk({a.scope_id for a in found if a.scope_id})
    for assignment in found:
        assignment.team = teams.get(assignment.scope_id)
        assignment.permissions = permissions_of(assignment.role)
    return found


@declares("signed_in")
@require_http_methods(["GET", "POST"])
def account(request):
    """Show and change what the reader may say about themselves, and show which roles they hold since when."""
    user = request.user
    form = ProfileForm(request.POST or None, initial={"name": user.name, "time_zone": user.time_zone})
    if request.method == "POST" and form.is_valid():
        try:
            people.change(actor=user, user=user, **form.cleaned_data)
        except people.Invalid as error:
            form.add_error(error.field or None, str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("governance:account")
    held = user.role_assignments.live().select_related("granted_by").order_by("scope_id", "role")
    live = ApiToken.objects.visible_to(user).live()
    soon = timezone.now() + datetime.timedelta(days=WARN_DAYS)
    held_factors = factors.of(user)
    context = {
        "form": form,
        "assignments": with_teams(held),
        "zones": sorted(zoneinfo.available_timezones()),
        "ending_tokens": list(live.filter(expires_at__lt=soon).order_by("expires_at")[:5]),
        "sessions": BrowserSession.objects.visible_to(user).live().count(),
        "apps": [factor for factor in held_factors if factor.type == "totp"],
        "passkeys": [factor for factor in held_factors if factor.type == "webauthn"],
        "identities": list(user.socialaccount_set.values_list("provider", flat=True)),
    }
    return render(request, "governance/account.html", context, status=422 if form.errors else 200)


@declares("signed_in")
@never_cache
@require_http_methods(["GET", "POST"])
def api_tokens(request):
    """List the reader's tokens and make a new one, which this answer alone shows."""
    form = TokenForm(request.POST or None, user=request.user)
    made = secret = None
    if request.method == "POST" and form.is_valid():
        try:
            made, secret = tokens.create(actor=request.user, user=request.user, **form.cleaned_data)
        except tokens.Invalid as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            form = TokenForm(user=request.user)
    rows = list(ApiToken.objects.visible_to(request.user)[:100])
    teams = access.scope_model().objects.in_bulk({t.scope_id for t in rows if t.scope_id})
    for row in rows:
        row.team = teams.get(row.scope_id)
        row.words = [(scope, SCOPE_WORDS[TokenScope(scope)]) for scope in row.scopes]
    context = {"form": form, "tokens": rows, "made": made, "secret": secret}
    return render(request, "governance/tokens.html", context, status=422 if form.errors else 200)


@declares("signed_in")
@require_POST
def revoke_token(request, pk):
    """End one of the reader's tokens at once."""
    token = get_object_or_404(ApiToken.objects.visible_to(request.user), pk=pk)
    tokens.revoke(actor=request.user, token=token)
    messages.success(
        request,
        _("The token “%(name)s” is revoked. Programs that use it are refused from now on.") % {"name": token.name},
    )
    return redirect("governance:tokens")


@declares("signed_in")
@never_cache
@require_http_methods(["GET"])
def browser_sessions(request):
    """List the browsers in which the reader is signed in, this one first."""
    rows = list(BrowserSession.objects.visible_to(request.user).live()[:100])
    here = request.session.session_key
    rows.sort(key=lambda row: row.key != here)
    for row in rows:
        row.here = row.key == here
    return render(request, "governance/sessions.html", {"sessions": rows, "others": any(not row.here for row in rows)})


@declares("signed_in")
@require_POST
def end_session(request, pk):
    """Sign one browser of the reader's out at once."""
    session = get_object_or_404(BrowserSession.objects.visible_to(request.user), pk=pk)
    here = session.key == request.session.session_key
    sessions.end(actor=request.user, session=session)
    if here:
        return redirect(settings.LOGIN_URL)
    messages.success(request, _("%(browser)s is signed out.") % {"browser": session.browser})
    return redirect("governance:sessions")


@declares("signed_in")
@require_POST
def end_other_sessions(request):
    """Sign every browser of the reader's out but this one."""
    ended = sessions.end_all(
        actor=request.user, user=request.user, but=request.session.session_key or "", why="all_others"
    )
    messages.success(request, _("Signed out: %(number)d.") % {"number": ended})
    return redirect("governance:sessions")


@declares("signed_in")
@require_http_methods(["GET"])
def protect(request):
    """Say why a second factor is needed and lead to setting one up."""
    labels = dict(ROLE_CHOICES)
    needed = [labels[role].lower() for role in factors.roles_that_need_one(request.user)]
    return render(request, "governance/protect.html", {"roles": needed, "has_one": factors.has_any(request.user)})
