"""Who can see an object and why, and the reviews in which somebody says for each person whether it stays."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from governance.forms import AccessDecisionForm, AccessReviewForm
from governance.interfaces.declared import declares
from governance.interfaces.paging import keyset
from governance.models import AccessReview, AccessReviewItem
from governance.policy import Permission
from governance.services import access
from governance.services import access_reviews as services

SHOWN = 500


def _subject(request, label: str, pk: int):
    model = access.reviewable(label)
    if model is None:
        raise Http404
    return get_object_or_404(model.objects.visible_to(request.user), pk=pk)


def _who(request, subject, form=None, status=200):
    user = request.user
    access.require(user, Permission.TEAM_VIEW, subject)
    may_review = access.allows(user, Permission.MEMBER_MANAGE, subject)
    held = access.who_sees(subject)
    running = AccessReview.objects.open().filter(
        content_type__app_label=subject._meta.app_label,
        content_type__model=subject._meta.model_name,
        object_id=subject.pk,
    )
    context = {
        "subject": subject,
        "label": subject._meta.label_lower,
        "kind": subject._meta.verbose_name,
        "held": held[:SHOWN],
        "people": len({one.person.pk for one in held if one.person is not None}),
        "everybody": any(one.person is None for one in held),
        "running": running.first(),
        "form": form or (AccessReviewForm(user=user) if may_review else None),
    }
    return render(request, "governance/access.html", context, status=status)


@declares("team.view")
@require_GET
def who(request, label, pk):
    """Show who can see an object, which role, share or emergency gives it, since when, by whose hand and until when."""
    return _who(request, _subject(request, label, pk))


@declares("member.manage")
@require_POST
def open_(request, label, pk):
    """Open a review of everyone who can see the object."""
    subject = _subject(request, label, pk)
    access.require(request.user, Permission.MEMBER_MANAGE, subject)
    form = AccessReviewForm(request.POST, user=request.user)
    if form.is_valid():
        try:
            review = services.open(actor=request.user, subject=subject, **form.arguments())
        except services.Invalid as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            messages.success(request, _("The review is open."))
            return redirect(review)
    return _who(request, subject, form, status=422)


@declares("signed_in")
@require_GET
def listing(request):
    """List the access reviews that the reader may see, newest first."""
    show = request.GET.get("show", "open")
    rows = AccessReview.objects.visible_to(request.user).select_related("owner")
    if show == "open":
        rows = rows.open()
    elif show == "overdue":
        rows = rows.overdue()
    elif show == "mine":
        rows = rows.to_do_by(request.user)
    page = keyset(rows, request, order=("-opened_at", "-id"))
    left = dict(
        AccessReviewItem.objects.filter(review__in=[row.pk for row in page.items])
        .values_list("review")
        .annotate(left=Count("pk", filter=Q(verdict="")))
    )
    for row in page.items:
        row.left = left.get(row.pk, 0)
    return render(request, "governance/access_reviews.html", {"page": page, "show": show})


def _load(request, pk) -> AccessReview:
    return get_object_or_404(
        AccessReview.objects.visible_to(request.user).select_related("owner", "opened_by", "content_type"), pk=pk
    )


@declares("signed_in")
@require_GET
def detail(request, pk):
    """Show a review: who, why, since when, and what was decided about each."""
    review = _load(request, pk)
    items = list(review.items.select_related("person", "granted_by", "decided_by")[:SHOWN])
    may_decide = review.closed_at is None and access.allows(request.user, Permission.MEMBER_MANAGE, review)
    context = {
        "review": review,
        "label": f"{review.content_type.app_label}.{review.content_type.model}",
        "items": items,
        "left": sum(not item.verdict for item in items),
        "may_decide": may_decide,
    }
    return render(request, "governance/access_review.html", context)


@declares("member.manage")
@require_POST
def decide(request, pk, item):
    """Keep one access, or take it away at once."""
    review = _load(request, pk)
    row = get_object_or_404(review.items.select_related("person"), pk=item)
    form = AccessDecisionForm(request.POST)
    if form.is_valid():
        decided = services.decide(actor=request.user, item=row, **form.cleaned_data)
        words = {"kept": _("%(person)s keeps this access."), "taken_away": _("The access of %(person)s has ended.")}
        messages.success(
            request,
            words.get(decided.verdict, _("This access of %(person)s had ended already.")) % {"person": row.person},
        )
    else:
        messages.error(request, _("Choose whether the access is kept or taken away."))
    return redirect(review if AccessReview.objects.visible_to(request.user).filter(pk=pk).exists() else "portal:home")


@declares("member.manage")
@require_POST
def close(request, pk):
    """Close the review once everything is decided."""
    review = services.close(actor=request.user, review=_load(request, pk))
    messages.success(request, _("The review is closed."))
    return redirect(review)
