"""How people get in, for who looks after them: their sessions, tokens, factors and locks. None of it gives a right."""

from __future__ import annotations

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from governance.forms import ReasonForm, UnlockForm
from governance.interfaces.declared import declares
from governance.models import ApiToken, BrowserSession, User
from governance.policy import Permission
from governance.services import access, factors, lockouts, people, sessions, tokens


def _load(request, pk) -> User:
    access.require(request.user, Permission.PERSON_MANAGE)
    return get_object_or_404(User.objects.visible_to(request.user), pk=pk)


def _person(request, user, *, password_form=None, factor_form=None, status=200):
    held = list(ApiToken.objects.manageable_by(request.user).filter(user=user)[:100])
    teams = access.scope_model().objects.in_bulk({token.scope_id for token in held if token.scope_id})
    for token in held:
        token.team = teams.get(token.scope_id)
    context = {
        "person": user,
        "itself": user.pk == request.user.pk,
        "sessions": BrowserSession.objects.manageable_by(request.user).filter(user=user).live()[:100],
        "tokens": held,
        "factors": factors.of(user),
        "lock": lockouts.of_account(user.email),
        "password_form": password_form or ReasonForm(prefix="password"),
        "factor_form": factor_form or ReasonForm(prefix="factors"),
    }
    return render(request, "governance/person_doors.html", context, status=status)


@declares("person.manage")
@never_cache
@require_GET
def person(request, pk):
    """Show how a person signs in: sessions, second factors, tokens, and whether they are locked out."""
    return _person(request, _load(request, pk))


@declares("person.manage")
@require_POST
def end_sessions(request, pk):
    """Sign every browser of a person out at once."""
    user = _load(request, pk)
    ended = sessions.end_all(actor=request.user, user=user, why="administrator")
    messages.success(
        request, ngettext("%(number)d session is ended.", "%(number)d sessions are ended.", ended) % {"number": ended}
    )
    return redirect("governance:person_doors", pk=pk)


@declares("person.manage")
@never_cache
@require_POST
def issue_password(request, pk):
    """Give a new first password to somebody who cannot get in; the answer alone shows it."""
    user = _load(request, pk)
    form = ReasonForm(request.POST, prefix="password")
    if not form.is_valid():
        return _person(request, user, password_form=form, status=422)
    password = people.first_password()
    people.set_password(actor=request.user, user=user, password=password, reason=form.cleaned_data["reason"])
    return render(request, "governance/person_made.html", {"made": user, "password": password, "again": True})


@declares("person.manage")
@require_POST
def remove_factors(request, pk):
    """Take the second factors from somebody who lost theirs."""
    user = _load(request, pk)
    form = ReasonForm(request.POST, prefix="factors")
    if not form.is_valid():
        return _person(request, user, factor_form=form, status=422)
    factors.remove_all(actor=request.user, user=user, reason=form.cleaned_data["reason"])
    messages.success(request, _("%(person)s has no second factor any more.") % {"person": user})
    return redirect("governance:person_doors", pk=pk)


@declares("person.manage")
@require_POST
def unlock_person(request, pk):
    """Let a person try again before their lock runs out."""
    user = _load(request, pk)
    lockouts.unlock(actor=request.user, account=user.email)
    messages.success(request, _("%(person)s can try again at once.") % {"person": user})
    return redirect("governance:person_doors", pk=pk)


@declares("person.manage")
@require_POST
def revoke_token(request, pk):
    """End a token of somebody else's at once."""
    token = get_object_or_404(ApiToken.objects.manageable_by(request.user).select_related("user"), pk=pk)
    tokens.revoke(actor=request.user, token=token)
    messages.success(request, _("The token “%(name)s” is revoked.") % {"name": token.name})
    return redirect("governance:person_doors", pk=token.user_id)


@declares("person.manage")
@never_cache
@require_GET
def locks(request):
    """List the accounts and addresses that are locked out now."""
    access.require(request.user, Permission.PERSON_MANAGE)
    return render(request, "governance/locks.html", {"locks": lockouts.in_force()})


@declares("person.manage")
@require_POST
def unlock(request):
    """End the lock of one account or one address."""
    form = UnlockForm(request.POST)
    if form.is_valid():
        lockouts.unlock(actor=request.user, **form.cleaned_data)
        messages.success(request, _("The lock is open."))
    else:
        messages.error(request, _("Say which account or which address."))
    return redirect("governance:locks")
