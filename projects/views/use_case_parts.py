"""The rows of a use case's page that are filled in one by one: objectives, stakeholders, goals.

Each form is a fragment in place when htmx asks for it, and a page of its own otherwise.
"""

from __future__ import annotations

from django.http import Http404
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from governance.interfaces.declared import declares
from projects.forms import GoalsForm, ObjectiveForm, StakeholderForm
from projects.services import use_cases
from projects.views.use_cases import load, say_what_changed

PARTS = {
    "objectives": (ObjectiveForm, gettext_lazy("Objective")),
    "stakeholders": (StakeholderForm, gettext_lazy("Stakeholder")),
}


def _part(part: str) -> tuple:
    if part not in PARTS:
        raise Http404
    return PARTS[part]


def _kept(use_case, part: str, without: int | None = None) -> list[dict]:
    """Return the rows as they are, by id alone: the service keeps what it is not told to change."""
    return [{"id": row.pk} for row in getattr(use_case, part).all() if row.pk != without]


def _answer(request, use_case, template: str, context: dict, status: int):
    context |= {"use_case": use_case, "fragment": bool(getattr(request, "htmx", False))}
    # htmx shows nothing of an answer with an error status, and the errors are what the person needs to see.
    return render(request, template, context, status=200 if context["fragment"] else status)


def _back(request, use_case, anchor: str):
    response = redirect(f"{use_case.get_absolute_url()}#{anchor}")
    if getattr(request, "htmx", False):
        # The whole page depends on the parts (checklist, pitfalls, next step), so the browser loads it afresh.
        response = render(request, "projects/_saved.html")
        response["HX-Refresh"] = "true"
    return response


@declares("use_case.view")
@require_http_methods(["GET", "POST"])
def edit(request, pk, part, row=None):
    """Add or change one objective or stakeholder."""
    use_case = load(request, pk)
    form_class, noun = _part(part)
    held = next((one for one in getattr(use_case, part).all() if one.pk == row), None)
    if row is not None and held is None:
        raise Http404
    form = form_class(
        request.POST or None, user=request.user, initial=form_class.values_of(held) if held else None, auto_id="part_%s"
    )
    if request.method == "POST" and form.is_valid():
        rows = _kept(use_case, part)
        if held:
            rows = [one | form.cleaned_data if one["id"] == row else one for one in rows]
        else:
            rows.append(form.cleaned_data)
        stage = use_case.stage
        changed = form.attempt(use_cases.change, use_case=use_case, **{part: rows})
        if changed is not None:
            say_what_changed(request, stage, changed)
            return _back(request, changed, part)
    action = [use_case.pk, part] if row is None else [use_case.pk, part, row]
    context = {
        "form": form,
        "part": part,
        "noun": noun,
        "row": held,
        "action": reverse("projects:use_case_part_new" if row is None else "projects:use_case_part", args=action),
    }
    return _answer(request, use_case, "projects/use_case_part.html", context, 422 if form.errors else 200)


@declares("use_case.view")
@require_POST
def remove(request, pk, part, row):
    """Remove one objective or stakeholder."""
    use_case = load(request, pk)
    _part(part)
    if row not in {one.pk for one in getattr(use_case, part).all()}:
        raise Http404
    stage = use_case.stage
    changed = use_cases.change(actor=request.user, use_case=use_case, **{part: _kept(use_case, part, without=row)})
    say_what_changed(request, stage, changed)
    return redirect(f"{changed.get_absolute_url()}#{part}")


@declares("use_case.view")
@require_http_methods(["GET", "POST"])
def goals(request, pk):
    """Choose the goals that the use case serves."""
    use_case = load(request, pk)
    form = GoalsForm(
        request.POST if request.method == "POST" else None, user=request.user, use_case=use_case, auto_id="part_%s"
    )
    if request.method == "POST" and form.is_valid():
        stage = use_case.stage
        changed = form.attempt(use_cases.set_goals, use_case=use_case, goals=form.cleaned_data["goals"])
        if changed is not None:
            say_what_changed(request, stage, changed)
            return _back(request, changed, "goals")
    context = {
        "form": form,
        "part": "goals",
        "noun": _("Goals"),
        "action": reverse("projects:use_case_goals", args=[pk]),
    }
    return _answer(request, use_case, "projects/use_case_part.html", context, 422 if form.errors else 200)
