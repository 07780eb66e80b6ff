"""Who does the reader's reviews while they are away, and for whom the reader stands in."""

from __future__ import annotations

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from governance.forms import DelegationForm
from governance.interfaces.declared import declares
from governance.models import ReviewDelegation
from governance.policy import MAX_DELEGATION_DAYS, REVIEWER_ROLES
from governance.services import access, approvals

SHOWN = 100


@declares("signed_in")
@require_http_methods(["GET", "POST"])
def delegations(request):
    """List the reader's delegations on either side, and let a reviewer make one."""
    user = request.user
    form = DelegationForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        try:
            made = approvals.delegate(actor=user, **form.arguments())
        except approvals.Invalid as error:
            form.add_error({"delegate": "email", "starts_at": "since", "ends_at": "until"}.get(error.field), str(error))
        else:
            words = {
                "person": made.delegate,
                "first": timezone.localtime(made.starts_at).date(),
                "day": timezone.localtime(made.ends_at).date(),
            }
            if made.waits:
                messages.success(request, _("%(person)s does your reviews from %(first)s until %(day)s.") % words)
            else:
                messages.success(request, _("%(person)s does your reviews until %(day)s.") % words)
            return redirect("governance:delegations")
    rows = ReviewDelegation.objects.select_related("delegator", "delegate")
    context = {
        "form": form,
        "may_delegate": bool(access.roles_of(user) & REVIEWER_ROLES),
        "given": list(rows.filter(delegator=user)[:SHOWN]),
        "received": list(rows.filter(delegate=user)[:SHOWN]),
        "most_days": MAX_DELEGATION_DAYS,
    }
    return render(request, "governance/delegations.html", context, status=422 if form.errors else 200)


@declares("signed_in")
@require_POST
def end(request, pk):
    """End a delegation that the reader gave or received."""
    found = get_object_or_404(ReviewDelegation.objects.visible_to(request.user), pk=pk)
    approvals.end_delegation(actor=request.user, delegation=found)
    messages.success(request, _("The delegation has ended."))
    return redirect("governance:delegations")
