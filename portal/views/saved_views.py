"""Saved views of lists: the menu on every list, the link that opens one, and the page on which people keep theirs."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Exists, OuterRef
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import listings
from governance.interfaces.declared import declares
from governance.interfaces.paging import keyset
from portal.forms import SavedViewForm
from portal.models import SavedView, UsualView
from portal.services import saved_views

OFFERED = 30
"""Views that a list's menu shows; the page of views has the rest."""


def offer(request, listing: listings.Listing) -> listings.Views:
    """Return the saved views of a list that its reader may open, in one query; registered with the lists."""
    user = request.user
    usual = UsualView.objects.filter(user=user, listing=listing.key, view=OuterRef("pk"))
    rows = SavedView.objects.visible_to(user).filter(listing=listing.key).select_related("owner", "team")
    opened = request.GET.get("saved", "")
    kept = listing.kept(request.GET)
    found = [
        listings.View(
            pk=row.pk,
            name=row.name,
            note=note_of(row, user),
            address=address_of(row),
            current=str(row.pk) == opened,
            usual=row.is_usual,
            update=(
                f"{reverse('portal:saved_view_edit', args=[row.pk])}?{urlencode({'query': kept, 'keep': 1})}"
                if str(row.pk) == opened and row.owner_id == user.pk and row.query != kept
                else ""
            ),
        )
        # What the reader starts with comes first, so that it is always among those offered.
        for row in rows.annotate(is_usual=Exists(usual)).order_by("-is_usual", "name", "pk")[:OFFERED]
    ]
    made = urlencode({"listing": listing.key, "query": kept})
    return listings.Views(found, f"{reverse('portal:saved_view_new')}?{made}", reverse("portal:saved_views"))


def note_of(view: SavedView, user) -> str:
    """Return whose view it is, as far as it is not only the reader's own."""
    if view.audience == SavedView.Audience.PRIVATE:
        return ""
    with_whom = view.team.name if view.team else _("everybody")
    if view.owner_id == user.pk:
        return _("shared with %(whom)s") % {"whom": with_whom}
    return _("from %(owner)s, for %(whom)s") % {"owner": view.owner, "whom": with_whom}


def address_of(view: SavedView) -> str:
    """Return the address of the list as the view shows it; raises Http404 where there is no such list any more."""
    listing = listings.get(view.listing)
    if listing is None:
        raise Http404
    return f"{reverse(listing.url)}?{view.query}{'&' if view.query else ''}saved={view.pk}"


@declares("signed_in")
@require_GET
def index(request):
    """List the views that the reader may open, their own with what can be done to them."""
    rows = SavedView.objects.visible_to(request.user).select_related("owner", "team")
    usual = UsualView.objects.filter(user=request.user, view=OuterRef("pk"))
    page = keyset(rows.annotate(is_usual=Exists(usual)), request, order=("listing", "name", "id"))
    for row in page.items:
        listing = listings.get(row.listing)
        row.title = listing.title if listing else row.listing
        row.note = note_of(row, request.user)
        row.mine, row.dialog = row.owner_id == request.user.pk, f"delete-{row.pk}"
    return render(request, "portal/saved_views.html", {"page": page})


@declares("signed_in")
@require_GET
def opened(request, pk):
    """Open a view: lead to its list, as it was kept."""
    return redirect(address_of(get_object_or_404(SavedView.objects.visible_to(request.user), pk=pk)))


@declares("list.save")
@require_http_methods(["GET", "POST"])
def create(request):
    """Keep what a list shows under a name."""
    asked = request.POST if request.method == "POST" else request.GET
    listing = listings.get(asked.get("listing", ""))
    if listing is None:
        raise Http404
    query = asked.get("query", "")[:4000]
    form = SavedViewForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        usual = chosen.pop("usual")
        made = form.attempt(saved_views.save, listing=listing.key, query=query, **chosen)
        if made is not None:
            if usual:
                saved_views.make_usual(actor=request.user, listing=listing.key, view=made)
            messages.success(request, _("The view “%(name)s” is kept.") % {"name": made.name})
            return redirect(address_of(made))
    context = {"form": form, "listing": listing, "query": query, "back": f"{reverse(listing.url)}?{query}"}
    return render(request, "portal/saved_view_form.html", context, status=422 if form.errors else 200)


def _own(request, pk) -> SavedView:
    rows = SavedView.objects.visible_to(request.user).filter(owner=request.user)
    return get_object_or_404(rows.select_related("team", "owner"), pk=pk)


@declares("list.save")
@require_http_methods(["GET", "POST"])
def edit(request, pk):
    """Rename one's own view, or change who finds it and what it shows."""
    view = _own(request, pk)
    asked = request.POST if request.method == "POST" else request.GET
    query = asked.get("query", "")[:4000] if "keep" in asked else None
    usual = UsualView.objects.filter(user=request.user, view=view).exists()
    initial = {"name": view.name, "audience": view.audience, "team": view.team, "usual": usual}
    form = SavedViewForm(request.POST or None, user=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        wanted = chosen.pop("usual")
        shows = {} if query is None else {"query": query}
        changed = form.attempt(saved_views.change, view=view, **chosen, **shows)
        if changed is not None:
            if wanted != usual:
                saved_views.make_usual(actor=request.user, listing=view.listing, view=changed if wanted else None)
            messages.success(request, _("Saved."))
            return redirect("portal:saved_views" if query is None else address_of(changed))
    context = {"form": form, "view": view, "listing": listings.get(view.listing), "query": query}
    context["back"] = reverse("portal:saved_views") if query is None else address_of(view)
    return render(request, "portal/saved_view_form.html", context, status=422 if form.errors else 200)


@declares("list.save")
@require_POST
def remove(request, pk):
    """Delete one's own view."""
    view = _own(request, pk)
    saved_views.delete(actor=request.user, view=view)
    messages.success(request, _("The view “%(name)s” is deleted.") % {"name": view.name})
    return redirect("portal:saved_views")


@declares("list.save")
@require_POST
def start_with(request, pk):
    """Start with a view when opening its list, or no longer."""
    view = get_object_or_404(SavedView.objects.visible_to(request.user), pk=pk)
    held = UsualView.objects.filter(user=request.user, view=view).exists()
    saved_views.make_usual(actor=request.user, listing=view.listing, view=None if held else view)
    messages.success(
        request,
        _("The list starts with everything again.")
        if held
        else _("The list starts with “%(name)s” from now on.") % {"name": view.name},
    )
    return redirect("portal:saved_views")
