"""The guardrails of a model: what is looked for, what is done about it, and how often something was found."""

from __future__ import annotations

import datetime
from collections import Counter

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access
from portal.forms import GuardrailsForm
from portal.gateway import guardrails
from portal.models import GuardrailPolicy, Usage
from portal.services import guardrails as policies
from training.models import RegisteredModel

DAYS = 30


@declares("signed_in")
@require_http_methods(["GET", "POST"])
def detail(request, team, name):
    """Show a model's guardrails, and let those who may change them."""
    rows = RegisteredModel.objects.visible_to(request.user).select_related("team", "use_case")
    model = get_object_or_404(rows, team__slug=team, name=name)
    policy = GuardrailPolicy.objects.filter(model=model).select_related("set_by").first()
    rules = policy.rules if policy else {}
    keep_days = policy.keep_days if policy else 0
    form = GuardrailsForm(request.POST or None, user=request.user, rules=rules, keep_days=keep_days)
    if request.method == "POST":
        if not GuardrailPolicy.may_tighten(request.user, model):
            access.require(request.user, Permission.GUARDRAIL_TIGHTEN, model)
        if form.is_valid():
            held = form.attempt(policies.set_policy, model=model, **form.chosen())
            if held is not None:
                messages.success(request, _("They hold from the next call on."))
                return redirect("portal:guardrails", team, name)
    counted = _counted(request.user, model)
    context = {
        "model": model,
        "policy": policy,
        "form": form,
        "chain": [(guardrails.get(one), rules.get(one), counted.get(one, 0)) for one in guardrails.names()],
        "days": DAYS,
        "may_set": access.allows(request.user, Permission.GUARDRAIL_SET, model),
        "may_tighten": GuardrailPolicy.may_tighten(request.user, model),
    }
    return render(request, "portal/guardrails.html", context, status=422 if form.errors else 200)


def _counted(user, model) -> Counter:
    """Return how often each guardrail found something lately: in all calls for who decides about them, else in the
    calls that the reader may see."""
    mine = Usage.objects if GuardrailPolicy.may_tighten(user, model) else Usage.objects.visible_to(user)
    since = timezone.now() - datetime.timedelta(days=DAYS)
    counts: Counter = Counter()
    rows = mine.filter(model=model, at__gte=since).exclude(findings={})
    for found in rows.order_by("-at").values_list("findings", flat=True)[:10_000]:
        counts.update(found)
    return counts
