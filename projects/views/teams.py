"""Teams, their members, and the organisation's goals."""

from __future__ import annotations

from itertools import groupby

from django.contrib import messages
from django.db.models import Count, Q
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import listings
from governance.interfaces.declared import declares
from governance.interfaces.paging import keyset
from governance.models import RoleAssignment, User
from governance.policy import Permission
from governance.services import access, roles
from projects.forms import GoalForm, MemberForm, TeamForm, end_of
from projects.lists import TEAMS
from projects.models import Dataset, StrategicGoal, Team, UseCase
from projects.services import goals, teams
from projects.views import history

NEWEST = 8
FEW = 20
"""As many teams as a filter lists; where the reader sees more, it suggests while they type."""


def choice(user, chosen: Team | None) -> dict:
    """Return what the filter by team offers: few teams to choose from, or whether there are many to search in."""
    found = list(Team.objects.visible_to(user).only("slug", "name")[: FEW + 1])
    many = len(found) > FEW
    return {"few": [] if many or len(found) == 1 else found, "many": many, "chosen": chosen}


@declares("signed_in")
@require_GET
def options(request):
    """Suggest teams by what is typed of their name or short name."""
    words = request.GET.get("team", "").strip()[:64]
    rows = Team.objects.visible_to(request.user).only("slug", "name")
    if words:
        rows = rows.filter(Q(name__icontains=words) | Q(slug__icontains=words))
    return render(request, "projects/_team_options.html", {"teams": rows[:FEW]})


def _rows(request):
    rows = Team.objects.visible_to(request.user)
    words = request.GET.get("q", "").strip()[:100]
    return rows.filter(Q(name__icontains=words) | Q(slug__icontains=words)) if words else rows


def _hang_members(request, teams: list[Team]) -> None:
    """Hang on each team how many people have a role in it, and whether the reader has one."""
    mine = access.scope_ids(request.user, Permission.TEAM_VIEW)
    live = RoleAssignment.objects.live().filter(scope_id__in=[team.pk for team in teams])
    members = dict(live.values_list("scope_id").annotate(people=Count("user", distinct=True)))
    for team in teams:
        team.people, team.mine = members.get(team.pk, 0), team.pk in mine


@declares("team.view")
@require_GET
@listings.page(TEAMS)
def listing(request):
    """List the teams that the reader may look into."""
    shown = listings.show(request, TEAMS, _rows(request), prepare=_hang_members)
    may_create = access.allows(request.user, Permission.TEAM_CREATE)
    return render(request, "projects/teams.html", {"shown": shown, "page": shown.page, "may_create": may_create})


export = listings.export_view(TEAMS, _rows, policy="team.view", prepare=_hang_members)


def _team(request, slug: str) -> Team:
    return get_object_or_404(Team.objects.visible_to(request.user), slug=slug)


def _suggestions() -> str:
    return reverse("projects:people_suggestions")


def _team_page(request, team: Team, form: MemberForm | None = None, status: int = 200, preview: dict | None = None):
    user = request.user
    may_manage = access.allows(user, Permission.MEMBER_MANAGE, team)
    assignments = (
        RoleAssignment.objects.live()
        .filter(scope_id=team.pk)
        .select_related("user")
        .order_by("user__name", "user__email", "user_id", "role")[:500]
    )
    members = [(person, list(held)) for person, held in groupby(assignments, key=lambda held: held.user)]
    context = {
        "team": team,
        "members": members,
        "may_manage": may_manage,
        "may_see_access": access.allows(user, Permission.TEAM_VIEW, team),
        "may_edit": access.allows(user, Permission.TEAM_EDIT, team),
        "may_register": access.allows(user, Permission.DATASET_REGISTER, team),
        "form": form or (MemberForm(user=user, suggestions_url=_suggestions()) if may_manage else None),
        "preview": preview,
        "use_cases": UseCase.objects.visible_to(user).filter(team=team).select_related("owner")[:NEWEST],
        "datasets": Dataset.objects.visible_to(user).filter(team=team).select_related("steward")[:NEWEST],
    }
    return render(request, "projects/team.html", context, status=status)


@declares("team.view")
@require_GET
def detail(request, slug):
    """Show a team: who is in it, what it works on, which data it holds."""
    return _team_page(request, _team(request, slug))


@declares("team.view")
@require_GET
def team_history(request, slug):
    """Show what changed about a team."""
    team = _team(request, slug)
    return render(request, "projects/team_history.html", {"team": team, "page": history.of(request, team)})


@declares("team.create")
@require_http_methods(["GET", "POST"])
def create(request):
    """Create a team."""
    access.require(request.user, Permission.TEAM_CREATE)
    form = TeamForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        team = form.attempt(teams.create, **form.cleaned_data)
        if team is not None:
            messages.success(request, _("The team “%(team)s” is there. Now add its people.") % {"team": team})
            return redirect(team)
    return render(request, "projects/team_form.html", {"form": form}, status=422 if form.errors else 200)


@declares("team.edit")
@require_http_methods(["GET", "POST"])
def edit(request, slug):
    """Change a team's name and description."""
    team = _team(request, slug)
    access.require(request.user, Permission.TEAM_EDIT, team)
    initial = {"name": team.name, "description": team.description}
    form = TeamForm(request.POST or None, user=request.user, new=False, initial=initial)
    if request.method == "POST" and form.is_valid() and form.attempt(teams.change, team=team, **form.cleaned_data):
        messages.success(request, _("Saved."))
        return redirect(team)
    return render(request, "projects/team_form.html", {"form": form, "team": team}, status=422 if form.errors else 200)


@declares("member.manage")
@require_POST
def grant(request, slug):
    """Give a person a role in the team: first show what comes with it, and after that is confirmed do it."""
    team = _team(request, slug)
    access.require(request.user, Permission.MEMBER_MANAGE, team)
    form = MemberForm(request.POST, user=request.user, suggestions_url=_suggestions())
    if form.is_valid():
        chosen = form.cleaned_data
        if "confirmed" not in request.POST:
            effect = roles.effect(user=chosen["person"], role=chosen["role"], team=team)
            preview = {"person": chosen["person"], "role": chosen["role"].replace("_", " "), "effect": effect}
            return _team_page(request, team, form, preview=preview)
        made = form.attempt(
            roles.grant, user=chosen["person"], role=chosen["role"], team=team, expires_at=end_of(chosen["until"])
        )
        if made is not None:
            words = _("%(person)s is now %(role)s in %(team)s.")
            role = made.get_role_display().lower()
            messages.success(request, words % {"person": made.user, "role": role, "team": team})
            return redirect(team)
    return _team_page(request, team, form, status=422)


@declares("member.manage")
@require_POST
def revoke(request, slug, pk):
    """Take a role in the team away."""
    team = _team(request, slug)
    assignment = get_object_or_404(
        RoleAssignment.objects.visible_to(request.user).filter(scope_id=team.pk).select_related("user"), pk=pk
    )
    roles.revoke(actor=request.user, assignment=assignment)
    words = _("%(person)s is no longer %(role)s in %(team)s.")
    role = assignment.get_role_display().lower()
    messages.success(request, words % {"person": assignment.user, "role": role, "team": team})
    return redirect(team if Team.objects.visible_to(request.user).filter(pk=team.pk).exists() else "projects:teams")


@declares("signed_in")
@require_GET
def people_suggestions(request):
    """Offer people whose name or address holds what was typed; a fragment for a datalist."""
    words = next(iter(request.GET.values()), "").strip()[:100]
    people = User.objects.visible_to(request.user).filter(is_active=True)
    found = (
        people.filter(Q(name__icontains=words) | Q(email__icontains=words)).order_by("name", "email")[:8]
        if len(words) > 1
        else []
    )
    return render(request, "projects/_people.html", {"people": found})


# Goals


@declares("signed_in")
@require_GET
def goal_listing(request):
    """List what the organisation wants, and how many visible use cases serve each."""
    rows = StrategicGoal.objects.visible_to(request.user)
    page = keyset(rows, request, order=("title",))
    served = dict(
        UseCase.goals.through.objects.filter(
            strategicgoal__in=[goal.pk for goal in page.items], usecase__in=UseCase.objects.visible_to(request.user)
        )
        .values_list("strategicgoal")
        .annotate(cases=Count("usecase"))
    )
    context = {
        "page": page,
        "lines": [{"goal": goal, "served": served.get(goal.pk, 0)} for goal in page.items],
        "may_manage": access.allows(request.user, Permission.GOAL_MANAGE),
    }
    return render(request, "projects/goals.html", context)


@declares("goal.manage")
@require_http_methods(["GET", "POST"])
def goal_create(request):
    """Name a goal."""
    access.require(request.user, Permission.GOAL_MANAGE)
    form = GoalForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid() and form.attempt(goals.create, **form.cleaned_data):
        messages.success(request, _("The goal is there; use cases can now say that they serve it."))
        return redirect("projects:goals")
    return render(request, "projects/goal_form.html", {"form": form}, status=422 if form.errors else 200)


@declares("goal.manage")
@require_http_methods(["GET", "POST"])
def goal_edit(request, pk):
    """Change a goal, or say that it is no longer pursued."""
    goal = get_object_or_404(StrategicGoal.objects.visible_to(request.user), pk=pk)
    access.require(request.user, Permission.GOAL_MANAGE)
    initial = {"title": goal.title, "description": goal.description, "is_current": goal.is_current}
    form = GoalForm(request.POST or None, user=request.user, new=False, initial=initial)
    if request.method == "POST" and form.is_valid() and form.attempt(goals.change, goal=goal, **form.cleaned_data):
        messages.success(request, _("Saved."))
        return redirect("projects:goals")
    return render(request, "projects/goal_form.html", {"form": form, "goal": goal}, status=422 if form.errors else 200)
