"""Erasing the texts of an entry without reading it, and agreeing to what somebody else asked to erase."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from governance.forms import DeclineErasureForm, EntryNumberForm, ErasureForm
from governance.interfaces.declared import declares
from governance.interfaces.paging import keyset
from governance.models import Erasure
from governance.policy import Permission
from governance.services import access
from governance.services import erasures as services


def told(request, erasure: Erasure) -> None:
    """Say what became of an erasure that was asked for."""
    if erasure.state == Erasure.State.WAITING:
        messages.info(
            request, _("Somebody else has to agree before anything is erased; administrators have been told.")
        )
    elif erasure.entry_id:
        words = {"number": erasure.texts}
        messages.success(request, _("%(number)s texts are erased; the entry and its proof stand.") % words)
    else:
        messages.success(
            request, _("The account is anonymised; what was done with it stays in the ledger, without a name.")
        )


def _page(request, *, form=None, decline=None, declined=None, status=200):
    """Draw the page; `form` and `decline` (about the erasure `declined`) are forms that came back with errors."""
    find = None
    user = request.user
    access.require(user, Permission.TEXT_ERASE)
    if form is None and "number" in request.GET:
        find = EntryNumberForm(request.GET, user=user)
    asked = form or find
    # What was found is shown beside what is wrong with the rest of the form.
    found = None if asked is None or "number" in asked.errors else asked.cleaned_data.get("entry")
    rows = Erasure.objects.visible_to(user).select_related("entry__sealed", "person", "asked_by", "decided_by")
    page = keyset(rows.defer("entry__canonical", "entry__leaf_hash"), request, order=("-id",), size=25)
    for row in page.items:
        row.dialog = f"agree-{row.pk}"
    context = {
        "page": page,
        "find": asked or EntryNumberForm(user=user),
        "found": found,
        # The names alone say what kind of text it is; the texts themselves are not for whoever erases them.
        "names": sorted({name.split(":")[0] for name in found.texts.values_list("name", flat=True)}) if found else [],
        "form": form or (ErasureForm(user=user, initial={"number": found.sealed.number}) if found else None),
        "by_two": settings.ERASURE_BY_TWO,
        "decline": decline or DeclineErasureForm(),
        "declined": declined,
    }
    return render(request, "governance/erasures.html", context, status=status)


@declares("text.erase")
@require_GET
def listing(request):
    """Offer to erase an entry's texts by its number, and list what was asked and what became of it."""
    return _page(request)


@declares("text.erase")
@require_POST
def ask(request):
    """Erase the texts of an entry, or ask a second person to agree."""
    form = ErasureForm(request.POST, user=request.user)
    if form.is_valid():
        try:
            asked = services.ask(
                actor=request.user, entry=form.cleaned_data["entry"], reason=form.cleaned_data["reason"]
            )
        except services.Invalid as error:
            form.add_error({"entry": "number"}.get(error.field, error.field) or None, str(error))
        else:
            told(request, asked)
            return redirect("governance:erasures")
    return _page(request, form=form, status=422)


def _load(request, pk) -> Erasure:
    return get_object_or_404(Erasure.objects.visible_to(request.user), pk=pk)


@declares("text.erase")
@require_POST
def agree(request, pk):
    """Agree to what somebody else asked: it is erased at once."""
    told(request, services.agree(actor=request.user, erasure=_load(request, pk)))
    return redirect("governance:erasures")


@declares("text.erase")
@require_POST
def decline(request, pk):
    """Leave in place what somebody else asked to erase."""
    erasure = _load(request, pk)
    form = DeclineErasureForm(request.POST)
    if form.is_valid():
        services.decline(actor=request.user, erasure=erasure, **form.cleaned_data)
        messages.success(request, _("It is not erased. Whoever asked finds your reason in the ledger."))
        return redirect("governance:erasures")
    return _page(request, decline=form, declined=erasure, status=422)
