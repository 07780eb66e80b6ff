"""Feedback: said of an answer beside it, listed for who looks after the use case, taken as labelled data."""

from __future__ import annotations

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from governance.interfaces import listings, spreadsheets
from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access
from portal.gateway.metering import reports
from portal.lists import FEEDBACK
from portal.models import Feedback, Usage
from portal.services import feedback
from projects.models import UseCase
from projects.services.fields import Invalid


@declares("signed_in")
@require_POST
def give(request, pk):
    """Say whether an answer to one's own call helped; a fragment beside the answer, or a page."""
    usage = get_object_or_404(Usage.objects.filter(person=request.user).select_related("model__team"), pk=pk)
    said = {name: request.POST.get(name, "") for name in ("thumb", "comment", "label")}
    problem = ""
    try:
        feedback.give(actor=request.user, usage=usage, **said)
    except Invalid as error:
        problem = str(error)
    if getattr(request, "htmx", False):
        context = {"call": usage.pk, "said": said, "problem": problem, "thanks": not problem}
        return render(request, "portal/_feedback.html", context)
    if problem:
        messages.error(request, problem)
    else:
        messages.success(request, _("Thank you. Who looks after the use case reads it."))
    return redirect(usage.model or "portal:usage")


def _rows(request):
    """Return the feedback that the filters leave: of a use case, a model or a team, by the thumb."""
    rows = Feedback.objects.visible_to(request.user)
    of = request.GET.get("of", "")
    if of == "mine":
        rows = rows.filter(usage__person=request.user)
    elif of:
        _usage, subject = reports.scoped(request.user, of)
        kind = of.partition(":")[0].replace("-", "_")
        rows = rows.filter(**{f"usage__{kind}": subject}) if subject is not None else rows.none()
    thumb = request.GET.get("thumb", "")
    if thumb in Feedback.Thumb.values:
        rows = rows.filter(thumb=thumb)
    return rows.select_related("usage__person", "usage__model__team", "usage__version", "usage__use_case").defer(
        "usage__use_case__words"
    )


@declares("signed_in")
@require_GET
@listings.page(FEEDBACK)
def listing(request):
    """List what people said of answers."""
    shown = listings.show(request, FEEDBACK, _rows(request))
    of = request.GET.get("of", "")
    _usage, subject = reports.scoped(request.user, of) if of.startswith("use-case:") else (None, None)
    may_take = subject is not None and access.allows(request.user, Permission.DATASET_UPLOAD, subject)
    context = {
        "shown": shown,
        "page": shown.page,
        "of": of,
        "thumbs": Feedback.Thumb.choices,
        "use_case": subject,
        "may_take": may_take,
    }
    return render(request, "portal/feedback.html", context)


export = listings.export_view(FEEDBACK, _rows, policy="signed_in")


@declares("dataset.upload")
@require_GET
def labelled(request, pk):
    """Send the labelled rows that feedback on a use case's answers makes, as a file that a dataset takes."""
    use_case = get_object_or_404(UseCase.objects.visible_to(request.user), pk=pk)
    rows = feedback.take(actor=request.user, use_case=use_case)
    return spreadsheets.stream(request, f"feedback-{use_case.pk}.csv", ["text", "label"], rows)
