"""Emergency access: who opened it and why, opening and ending it, and the review of someone else's."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from governance.forms import BreakGlassForm, BreakGlassReviewForm
from governance.interfaces.declared import declares
from governance.interfaces.paging import keyset
from governance.models import BreakGlass, LedgerEntry
from governance.policy import BREAK_GLASS, GlassLevel, Permission
from governance.services import access
from governance.services import break_glass as services

USES_SHOWN = 100


def _with_teams(rows) -> list:
    found = list(rows)
    teams = access.scope_model().objects.in_bulk({row.scope_id for row in found if row.scope_id})
    for row in found:
        row.team = teams.get(row.scope_id)
    return found


def _listing(request, form=None, status=200):
    user = request.user
    rows = BreakGlass.objects.visible_to(user).select_related("person")
    page = keyset(rows, request, order=("-opened_at", "-id"))
    _with_teams(page.items)
    may_open = access.organisation_allows(user, Permission.BREAK_GLASS_OPEN)
    context = {
        "page": page,
        "form": form or (BreakGlassForm(user=user) if may_open else None),
        "may_review": access.organisation_allows(user, Permission.BREAK_GLASS_REVIEW),
        "levels": [(level, sorted(permission.value for permission in BREAK_GLASS[level])) for level in GlassLevel],
        "days": settings.BREAK_GLASS_REVIEW_DAYS,
    }
    return render(request, "governance/break_glasses.html", context, status=status)


@declares("signed_in")
@require_GET
def listing(request):
    """List the emergency accesses that the reader may know of, newest first, and offer to open one."""
    return _listing(request)


@declares("break_glass.open")
@require_POST
def open_(request):
    """Open emergency access for oneself."""
    form = BreakGlassForm(request.POST, user=request.user)
    if form.is_valid():
        try:
            glass = services.open(actor=request.user, **form.cleaned_data)
        except services.Invalid as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            messages.warning(request, _("Emergency access is open. Auditors and administrators have been told."))
            return redirect(glass)
    return _listing(request, form, status=422)


def _load(request, pk) -> BreakGlass:
    rows = BreakGlass.objects.visible_to(request.user).select_related("person", "ended_by", "reviewed_by")
    return get_object_or_404(rows, pk=pk)


def _detail(request, glass, form=None, status=200):
    user = request.user
    (glass,) = _with_teams([glass])
    reviews = access.organisation_allows(user, Permission.BREAK_GLASS_REVIEW)
    uses = (
        LedgerEntry.objects.about(glass).select_related("actor").defer("leaf_hash").order_by("-at", "-id")[:USES_SHOWN]
    )
    context = {
        "glass": glass,
        "entries": services.history(uses),
        "may_end": glass.is_live
        and (glass.person_id == user.pk or reviews or access.allows(user, Permission.MEMBER_MANAGE, glass)),
        "own": glass.person_id == user.pk,
        "waits": not glass.is_live and glass.reviewed_at is None,
        "form": form or (BreakGlassReviewForm() if reviews and glass.person_id != user.pk else None),
    }
    return render(request, "governance/break_glass.html", context, status=status)


@declares("signed_in")
@require_GET
def detail(request, pk):
    """Show one emergency access: why, until when, every use of it, and what the reviewer said."""
    return _detail(request, _load(request, pk))


@declares("signed_in")
@require_POST
def end(request, pk):
    """End it at once."""
    glass = services.end(actor=request.user, glass=_load(request, pk))
    messages.success(request, _("The emergency access has ended."))
    # Whoever saw something only through it must not be led back there.
    return redirect(glass if BreakGlass.objects.visible_to(request.user).filter(pk=pk).exists() else "portal:home")


@declares("break_glass.review")
@require_POST
def review(request, pk):
    """Say whether it was justified."""
    glass = _load(request, pk)
    form = BreakGlassReviewForm(request.POST)
    if form.is_valid():
        try:
            services.review(actor=request.user, glass=glass, **form.cleaned_data)
        except services.Invalid as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            messages.success(request, _("Your review is recorded."))
            return redirect(glass)
    return _detail(request, glass, form, status=422)
