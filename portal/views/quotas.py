"""Quotas: the list of those that bind or concern the reader, one of them, a new one, its change and its end."""

from __future__ import annotations

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import bulk, listings
from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access
from portal.forms import QuotaChangeForm, QuotaForm
from portal.gateway import metering
from portal.lists import QUOTAS
from portal.models import Quota
from portal.services import quotas
from projects.views import history

PARTS = ("team", "model__team", "use_case", "person", "set_by")


def _visible(request):
    rows = Quota.objects.visible_to(request.user).select_related(*PARTS)
    return rows.defer("use_case__words", "use_case__problem")


def _rows(request):
    rows = _visible(request)
    subject, team = request.GET.get("subject", ""), request.GET.get("team", "")
    if subject in Quota.Subject.values:
        rows = rows.filter(subject=subject)
    if team and "\0" not in team:
        rows = rows.filter(team__slug=team)
    return rows if request.GET.get("ended") == "too" else rows.in_force()


def _hang_standings(request, rows: list[Quota]) -> None:
    """Hang on each quota how much of it is used now."""
    by_pk = {one.quota.pk: one for one in metering.standing_of(rows, request.user)}
    for row in rows:
        row.standing = by_pk[row.pk]


def _may_manage(user) -> bool:
    return access.organisation_allows(user, Permission.QUOTA_MANAGE) or bool(
        access.scope_ids(user, Permission.QUOTA_MANAGE)
    )


@declares("signed_in")
@require_GET
@listings.page(QUOTAS)
def listing(request):
    """List quotas, with how much of each is used now."""
    shown = listings.show(request, QUOTAS, _rows(request), prepare=_hang_standings)
    context = {
        "shown": shown,
        "page": shown.page,
        "subjects": Quota.Subject.choices,
        "may_manage": _may_manage(request.user),
    }
    return render(request, "portal/quotas.html", context)


export = listings.export_view(QUOTAS, _rows, policy="signed_in", prepare=_hang_standings)
bulk_end = bulk.view(QUOTAS, _visible, policy="quota.manage")


@declares("quota.manage")
@require_http_methods(["GET", "POST"])
def create(request):
    """Set a quota."""
    form = QuotaForm(request.POST or None, user=request.user, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        made = form.attempt(quotas.create, **form.cleaned_data)
        if made is not None:
            messages.success(request, _("The quota counts from now on, with what was used in its window before."))
            return redirect(made)
    return render(request, "portal/quota_form.html", {"form": form}, status=422 if form.errors else 200)


@declares("signed_in")
@require_http_methods(["GET", "POST"])
def detail(request, pk):
    """Show a quota, how much of it is used, and what happened to it; whoever may changes it here."""
    quota = get_object_or_404(_visible(request), pk=pk)
    may_manage = access.allows(request.user, Permission.QUOTA_MANAGE, quota) and quota.ended_at is None
    initial = {"amount": f"{quota.amount.normalize():f}", "reason": quota.reason}
    form = QuotaChangeForm(request.POST or None, user=request.user, initial=initial)
    if request.method == "POST":
        access.require(request.user, Permission.QUOTA_MANAGE, quota)
        if form.is_valid():
            changed = form.attempt(quotas.change, quota=quota, **form.cleaned_data)
            if changed is not None:
                messages.success(request, _("Saved."))
                return redirect(quota)
    context = {
        "quota": quota,
        "form": form,
        "may_manage": may_manage,
        "standing": metering.standing_of([quota], request.user)[0],
        "history": history.of(request, quota),
    }
    return render(request, "portal/quota.html", context, status=422 if form.errors else 200)


@declares("quota.manage")
@require_POST
def end(request, pk):
    """End a quota."""
    quota = get_object_or_404(_visible(request), pk=pk)
    quotas.end(actor=request.user, quota=quota)
    messages.success(request, _("The quota has ended."))
    return redirect(quota)
