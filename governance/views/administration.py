"""Administration: people, what they may do and why, and the effect of a role before it is given."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import Prefetch, Q
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.forms import AnonymiseForm, DeactivateForm, PersonForm, RoleGrantForm, role_choices
from governance.interfaces import bulk, listings
from governance.interfaces.declared import declares
from governance.lists import PEOPLE
from governance.models import LedgerEntry, RoleAssignment, Share, User
from governance.policy import Permission, Role
from governance.services import access, erasures, roles
from governance.services import people as services
from governance.views.account import with_teams
from governance.views.erasures import told


def _rows(request):
    """Return the people that the filters leave: by words, by role and by whether they are active."""
    state = request.GET.get("state", "")
    words = request.GET.get("q", "").strip()[:100]
    role = request.GET.get("role", "")
    rows = User.objects.visible_to(request.user)
    if state in {"active", "inactive"}:
        rows = rows.filter(is_active=state == "active")
    if role in set(Role):
        rows = rows.filter(pk__in=RoleAssignment.objects.live().filter(role=role).values("user_id"))
    if words:
        rows = rows.filter(Q(email__icontains=words) | Q(name__icontains=words))
    held = Prefetch("role_assignments", RoleAssignment.objects.live().order_by("scope_id", "role"))
    return rows.prefetch_related(held)


def _hang_teams(request, rows: list[User]) -> None:
    with_teams(assignment for user in rows for assignment in user.role_assignments.all())


@declares("person.view")
@require_GET
@listings.page(PEOPLE)
def people(request):
    """List people with their roles; by words, and by whether they are active."""
    access.require(request.user, Permission.PERSON_VIEW)
    shown = listings.show(request, PEOPLE, _rows(request), prepare=_hang_teams)
    context = {
        "shown": shown,
        "page": shown.page,
        "state": request.GET.get("state", ""),
        "role": request.GET.get("role", ""),
        "roles": role_choices(),
        "may_manage": access.organisation_allows(request.user, Permission.PERSON_MANAGE),
        "may_erase": access.organisation_allows(request.user, Permission.TEXT_ERASE),
        "teams": access.organisation_allows(request.user, Permission.TEAM_VIEW),
    }
    return render(request, "governance/people.html", context)


def _exported(request):
    access.require(request.user, Permission.PERSON_VIEW)
    return _rows(request)


export = listings.export_view(PEOPLE, _exported, policy="person.view", prepare=_hang_teams)
bulk_people = bulk.view(PEOPLE, lambda request: User.objects.visible_to(request.user), policy="person.manage")


@declares("person.manage")
@never_cache
@require_http_methods(["GET", "POST"])
def person_new(request):
    """Create a person; the answer alone shows their first password."""
    access.require(request.user, Permission.PERSON_MANAGE)
    form = PersonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        password = services.first_password()
        try:
            made = services.create(actor=request.user, password=password, **form.cleaned_data)
        except services.Invalid as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            return render(request, "governance/person_made.html", {"made": made, "password": password})
    return render(request, "governance/person_new.html", {"form": form}, status=422 if form.errors else 200)


def _person(request, user, *, grant=None, deactivate=None, anonymise=None, preview=None, status=200):
    viewer = request.user
    assignments = with_teams(user.role_assignments.select_related("granted_by").order_by("scope_id", "role"))
    context = {
        "person": user,
        "assignments": assignments,
        "shares": Share.objects.visible_to(viewer).filter(user=user).live().select_related("granted_by"),
        "entries": LedgerEntry.objects.visible_to(viewer)
        .about(user)
        .select_related("actor")
        .defer("canonical", "leaf_hash")
        .order_by("-at", "-id")[:10],
        "grant": grant or RoleGrantForm(user=viewer, person=user),
        "deactivate": deactivate or DeactivateForm(),
        "anonymise": (anonymise or AnonymiseForm())
        if user.pk != viewer.pk and access.organisation_allows(viewer, Permission.TEXT_ERASE)
        else None,
        "anonymous": user.email.endswith("@gatehouse.invalid"),
        "preview": preview,
        "may_manage": access.organisation_allows(viewer, Permission.PERSON_MANAGE),
        "itself": user.pk == viewer.pk,
    }
    return render(request, "governance/person.html", context, status=status)


def _load(request, pk) -> User:
    return get_object_or_404(User.objects.visible_to(request.user), pk=pk)


@declares("person.view")
@require_GET
def person(request, pk):
    """Show a person: roles and what comes with them, what is shared with them, what was done about them."""
    access.require(request.user, Permission.PERSON_VIEW)
    return _person(request, _load(request, pk))


@declares("person.manage")
@require_POST
def grant(request, pk):
    """Give a role: first show which permissions come with it, and after that is confirmed do it."""
    access.require(request.user, Permission.PERSON_MANAGE)
    user = _load(request, pk)
    form = RoleGrantForm(request.POST, user=request.user, person=user)
    if not form.is_valid():
        return _person(request, user, grant=form, status=422)
    arguments = form.arguments()
    if "confirmed" not in request.POST:
        effect = roles.effect(user=user, role=arguments["role"], team=arguments["team"])
        preview = {**arguments, "label": dict(role_choices())[arguments["role"]].lower(), "effect": effect}
        return _person(request, user, grant=form, preview=preview)
    try:
        assignment = roles.grant(actor=request.user, **arguments)
    except roles.Invalid as error:
        form.add_error(
            {"expires_at": "until"}.get(error.field, error.field if error.field in form.fields else None), str(error)
        )
        return _person(request, user, grant=form, status=422)
    messages.success(
        request, _("%(person)s is now %(role)s.") % {"person": user, "role": assignment.get_role_display().lower()}
    )
    return redirect("governance:person", pk=pk)


@declares("person.manage")
@require_POST
def revoke(request, pk):
    """Take one role away at once."""
    assignment = get_object_or_404(RoleAssignment.objects.visible_to(request.user).select_related("user"), pk=pk)
    user, label = assignment.user, assignment.get_role_display().lower()
    roles.revoke(actor=request.user, assignment=assignment)
    messages.success(request, _("%(person)s is no longer %(role)s.") % {"person": user, "role": label})
    return redirect("governance:person", pk=user.pk)


@declares("person.manage")
@require_POST
def deactivate(request, pk):
    """End a person's access at once."""
    user = _load(request, pk)
    form = DeactivateForm(request.POST)
    if not form.is_valid():
        return _person(request, user, deactivate=form, status=422)
    services.deactivate(actor=request.user, user=user, reason=form.cleaned_data["reason"])
    messages.success(request, _("%(person)s can no longer sign in, and their tokens are refused.") % {"person": user})
    return redirect("governance:person", pk=pk)


@declares("person.manage")
@require_POST
def reactivate(request, pk):
    """Take a person back, with the roles and tokens that they had."""
    user = _load(request, pk)
    services.reactivate(actor=request.user, user=user)
    messages.success(request, _("%(person)s can sign in again.") % {"person": user})
    return redirect("governance:person", pk=pk)


@declares("text.erase")
@require_POST
def anonymise(request, pk):
    """Erase who a person is; what they did stays, and so does every proof."""
    user = _load(request, pk)
    form = AnonymiseForm(request.POST)
    if not form.is_valid():
        return _person(request, user, anonymise=form, status=422)
    reason, written = form.cleaned_data["reason"], form.cleaned_data["written"]
    try:
        told(request, erasures.ask(actor=request.user, person=user, reason=reason, written=written))
    except erasures.Invalid as error:
        form.add_error(error.field or None, str(error))
        return _person(request, user, anonymise=form, status=422)
    return redirect("governance:person", pk=pk)
