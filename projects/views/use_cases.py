"""Use cases: list, board and export; intake; the page of one with its evidence, reviews and history; its moves."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.contenttypes.models import ContentType
from django.db.models import Prefetch
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import bulk, listings
from governance.interfaces.declared import declares
from governance.interfaces.paging import CappedCount
from governance.models import ApprovalCondition, ApprovalRequest, Decision, User
from governance.policy import Gate, Permission
from governance.services import access
from projects.forms import MoveForm, ProposalForm, UseCaseFilter, UseCaseForm
from projects.lists import USE_CASES
from projects.models import DatasetClearance, StrategicGoal, UseCase
from projects.models.use_cases import Stage
from projects.services import use_cases
from projects.views import history, teams

BOARD_CARDS = 20
BOARD_COUNT = 1_000
"""How far the use cases of a column are counted; beyond, it says "more"."""
GATE = Gate.USE_CASE_DEVELOPMENT
UNSHOWN = ("words", "human_oversight")
"""The texts that lists do without."""
PATH = (Stage.DRAFT, Stage.SUBMITTED, Stage.APPROVED, Stage.PILOTING, Stage.LIVE, Stage.RETIRED)

NEXT = {
    Stage.DRAFT: Stage.SUBMITTED,
    Stage.REJECTED: Stage.DRAFT,
    Stage.ON_HOLD: Stage.DRAFT,
    Stage.APPROVED: Stage.PILOTING,
    Stage.PILOTING: Stage.LIVE,
}
"""The move that a page offers first."""

WHAT_A_MOVE_DOES = {
    (Stage.DRAFT, Stage.SUBMITTED): gettext_lazy(
        "Reviewers are asked whether it may be developed. They see exactly what is written here now; "
        "changing it afterwards takes it back to draft, and you ask again."
    ),
    (Stage.SUBMITTED, Stage.DRAFT): gettext_lazy(
        "The request for review is withdrawn and nobody needs to decide. You can submit it again at any time."
    ),
    (Stage.APPROVED, Stage.DRAFT): gettext_lazy(
        "Its approval ends: no training can be started for it until it has been reviewed again."
    ),
    (Stage.REJECTED, Stage.DRAFT): gettext_lazy("It becomes a draft again, which you can change and submit."),
    (Stage.DRAFT, Stage.ON_HOLD): gettext_lazy("It rests until somebody takes it up again. Nothing is lost."),
    (Stage.APPROVED, Stage.ON_HOLD): gettext_lazy(
        "It rests until somebody takes it up again. Its approval ends, so it will be reviewed again then."
    ),
    (Stage.ON_HOLD, Stage.DRAFT): gettext_lazy("It becomes a draft again, which you can change and submit."),
    (Stage.APPROVED, Stage.PILOTING): gettext_lazy(
        "A few people start to use it. What was approved stays as it is while the pilot runs."
    ),
    (Stage.APPROVED, Stage.LIVE): gettext_lazy("People rely on it from now on. What was approved stays as it is."),
    (Stage.PILOTING, Stage.LIVE): gettext_lazy("People rely on it from now on. What was approved stays as it is."),
    (Stage.PILOTING, Stage.APPROVED): gettext_lazy("The pilot ends. It stays approved and can be piloted again."),
    (Stage.LIVE, Stage.APPROVED): gettext_lazy("It is no longer counted as in use. It stays approved."),
    (Stage.LIVE, Stage.RETIRED): gettext_lazy(
        "Its life ends here: its approval ends, and it cannot be taken up again. Its history stays."
    ),
    (Stage.PILOTING, Stage.RETIRED): gettext_lazy(
        "Its life ends here: its approval ends, and it cannot be taken up again. Its history stays."
    ),
}


# Lists


def _visible(request):
    return UseCase.objects.visible_to(request.user).select_related("team", "owner").defer(*UNSHOWN)


def _rows(request):
    return UseCaseFilter(request.GET, user=request.user).narrow(_visible(request))


@declares("signed_in")
@require_GET
@listings.page(USE_CASES)
def listing(request):
    """List the use cases that the reader may see, newest change first, or show them as a board by stage."""
    user = request.user
    chosen = UseCaseFilter(request.GET, user=user)
    rows = chosen.narrow(_visible(request))
    board = request.GET.get("view") == "board"
    shown = listings.show(request, USE_CASES, rows, counted=True)
    context = {
        "filter": chosen,
        "board": _board(rows) if board else None,
        "shown": shown,
        "page": shown.page,
        "stages": Stage.choices,
        "teams": teams.choice(user, chosen.cleaned_data.get("team")),
        "goals": StrategicGoal.objects.visible_to(user)[:200],
    }
    return render(request, "projects/use_cases.html", context)


export = listings.export_view(USE_CASES, _rows, policy="signed_in")
bulk_move = bulk.view(USE_CASES, _visible, policy="use_case.move")


def _board(rows) -> list[dict]:
    """Return a column for each stage with its newest cards and how many there are, in two queries.

    Each column is read from the index of its stage and no further than its cards: numbering all rows by stage, as a
    window does, reads every use case there is.
    """
    by_stage = {stage: rows.filter(stage=stage) for stage in Stage}
    columns = {stage: {"stage": stage, "label": stage.label, "cards": [], "total": 0} for stage in Stage}
    newest = [one.order_by("-changed_at", "-pk").values("pk")[:BOARD_CARDS] for one in by_stage.values()]
    # SQLite takes no LIMIT in a part of a union, but in a subquery of one.
    first, *others = (
        UseCase.objects.filter(pk__in=part).select_related("team").defer(*UNSHOWN).order_by() for part in newest
    )
    for card in sorted(first.union(*others, all=True), key=lambda card: (card.changed_at, card.pk), reverse=True):
        columns[Stage(card.stage)]["cards"].append(card)
    counts = {stage.value: CappedCount(one, cap=BOARD_COUNT + 1) for stage, one in by_stage.items()}
    for value, total in User.objects.order_by().values(**counts)[:1].get().items():
        words = f"{total:,}" if total <= BOARD_COUNT else f"{BOARD_COUNT:,}+"
        columns[Stage(value)] |= {"total": total, "words": words}
    always = {Stage.DRAFT, Stage.SUBMITTED, Stage.APPROVED, Stage.PILOTING, Stage.LIVE}
    return [column for stage, column in columns.items() if column["cards"] or stage in always]


# Intake


@declares("use_case.propose")
@require_http_methods(["GET", "POST"])
def create(request):
    """Propose a use case in five fields."""
    form = ProposalForm(
        request.POST or None, user=request.user, initial={"team": ProposalForm.first_team(request.user)}
    )
    if request.method == "POST" and form.is_valid():
        use_case = form.attempt(use_cases.propose, **form.cleaned_data)
        if use_case is not None:
            messages.success(
                request, _("Your proposal is kept as a draft. The list below says what a review still needs.")
            )
            return redirect(use_case)
    context = {"form": form, "pitfalls": _hints(request) if form.errors else []}
    return render(request, "projects/use_case_new.html", context, status=422 if form.errors else 200)


@declares("use_case.propose")
@require_POST
def hints(request):
    """Show the pitfalls seen in what is being typed; a fragment, nothing is kept."""
    return render(request, "projects/_hints.html", {"pitfalls": _hints(request)})


def _hints(request) -> list:
    texts = {
        name: request.POST.get(name, "")[:10_000] for name in ("title", "problem", "people", "benefit", "data_needed")
    }
    if len(f"{texts['title']} {texts['problem']}".split()) < 3:
        return []
    found = use_cases.pitfalls(actor=request.user, use_case=UseCase(**texts))
    # Objectives and goals are asked for later, and an empty field need not be called vague.
    untouched = {"vague_objective", "no_goal"}
    untouched |= {"vague_benefit"} if not texts["benefit"].strip() else set()
    untouched |= {"no_data"} if not texts["benefit"].strip() else set()
    return [pitfall for pitfall in found if pitfall.code not in untouched]


# One use case


def load(request, pk) -> UseCase:
    """Return the use case with everything that its frame shows, if the reader may see it."""
    rows = UseCase.objects.visible_to(request.user).select_related("team", "owner", "proposer", "risk_tier_set_by")
    return get_object_or_404(rows.prefetch_related("objectives", "stakeholders", "goals"), pk=pk)


def frame(request, use_case: UseCase, section: str) -> dict:
    """Return what every page of a use case shows: stages, tabs, the next step and the other moves."""
    moves = [
        {
            "target": move.target.value,
            "label": move.label,
            "allowed": move.allowed,
            "reason": move.reason,
            "effect": WHAT_A_MOVE_DOES.get((Stage(use_case.stage), move.target), ""),
            "ends": move.target == Stage.RETIRED,
            "dialog": f"move-{move.target.value}",
            "open": request.GET.get("move") == move.target.value,
        }
        for move in use_cases.moves(actor=request.user, use_case=use_case)
        if move.gate is None
    ]
    allowed = [move for move in moves if move["allowed"]]
    first = NEXT.get(Stage(use_case.stage))
    sections = [("overview", _("Overview"), "use_case"), ("evidence", _("Data and models"), "use_case_evidence")]
    sections += [("reviews", _("Reviews"), "use_case_reviews"), ("history", _("History"), "use_case_history")]
    tabs = [
        {"label": label, "url": reverse(f"projects:{name}", args=[use_case.pk]), "current": key == section}
        for key, label, name in sections
    ]
    return {
        "use_case": use_case,
        "tabs": tabs,
        "stages": _stages(use_case),
        "allowed_moves": allowed,
        "primary": next((move for move in allowed if move["target"] == first), None),
        "other_moves": [move for move in allowed if move["target"] not in {first, Stage.SUBMITTED}],
        "may_see_access": access.allows(request.user, Permission.TEAM_VIEW, use_case),
        "may_edit": use_cases.may_edit(request.user, use_case) and Stage(use_case.stage) not in use_cases.FIXED,
    }


def _stages(use_case: UseCase) -> list[dict]:
    stage = Stage(use_case.stage)
    at = {Stage.REJECTED: Stage.SUBMITTED, Stage.ON_HOLD: Stage.DRAFT}.get(stage, stage)
    place = PATH.index(at)
    found = []
    for index, step in enumerate(PATH):
        state = "done" if index < place else "current" if index == place else "todo"
        note = ""
        if index == place and stage != at:
            note, state = stage.label, "failed" if stage == Stage.REJECTED else "current"
        found.append({"label": step.label, "state": state, "note": note, "key": step.value})
    if stage == Stage.LIVE or at == Stage.APPROVED:
        # Nobody can tell whether there was a pilot from the stage alone, so it is not ticked.
        found[3]["state"] = "todo" if at == Stage.APPROVED else "done"
    return found


@declares("use_case.view")
@require_GET
def detail(request, pk):
    """Show what the use case is about, what its gate still needs and the pitfalls seen in it."""
    use_case = load(request, pk)
    context = frame(request, use_case, "overview")
    before_the_gate = use_case.stage in {Stage.DRAFT, Stage.REJECTED, Stage.ON_HOLD}
    checklist = use_case.approval_checklist(GATE) if before_the_gate or use_case.stage == Stage.SUBMITTED else []
    context |= {
        "checklist": checklist,
        "missing": [check for check in checklist if not check.met],
        "pitfalls": use_cases.pitfalls(actor=request.user, use_case=use_case) if before_the_gate else [],
    }
    if context["missing"] and context["primary"] and context["primary"]["target"] == Stage.SUBMITTED:
        context["primary"] = None
    return render(request, "projects/use_case.html", context)


@declares("use_case.view")
@require_GET
def evidence(request, pk):
    """Show the data cleared for the use case, and the jobs and models made for it."""
    use_case = load(request, pk)
    clearances = list(
        DatasetClearance.objects.visible_to(request.user)
        .filter(use_case=use_case)
        .select_related("version__dataset__team", "requested_by")
        .defer("version__profile", "version__errors", "version__changes", "version__source", "version__labels")
        .order_by("-version__created_at", "-pk")[:50]
    )
    context = frame(request, use_case, "evidence")
    latest = latest_requests(clearances, Gate.DATASET_USE)
    context |= {
        "clearances": [{"clearance": one, "request": latest.get(one.pk)} for one in clearances],
        "models_url": neighbour("training:use_case_models", use_case.pk),
        "new_job_url": neighbour("training:job_new"),
    }
    return render(request, "projects/use_case_evidence.html", context)


def latest_requests(subjects: list, gate: Gate) -> dict[int, ApprovalRequest]:
    """Return each subject's newest request at the gate by the subject's id, in one query, without what was shown."""
    if not subjects:
        return {}
    rows = ApprovalRequest.objects.filter(
        content_type=ContentType.objects.get_for_model(subjects[0]),
        object_id__in=[one.pk for one in subjects],
        gate=gate.value,
    )
    return {row.object_id: row for row in rows.defer("snapshot").order_by("requested_at", "pk")}


def neighbour(name: str, *args) -> str:
    """Return the address of a page of a package above this one, or nothing where the site has none."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


@declares("use_case.view")
@require_GET
def reviews(request, pk):
    """Show every request to develop it and what was decided."""
    use_case = load(request, pk)
    asked = (
        ApprovalRequest.objects.visible_to(request.user)
        .about(use_case)
        .select_related("requester")
        .prefetch_related(Prefetch("decisions", Decision.objects.select_related("approver", "on_behalf_of")))
        .prefetch_related(Prefetch("conditions", ApprovalCondition.objects.select_related("met_by")))
        .defer("snapshot")
        .order_by("-requested_at", "-pk")[:50]
    )
    return render(request, "projects/use_case_reviews.html", frame(request, use_case, "reviews") | {"requests": asked})


@declares("use_case.view")
@require_GET
def past(request, pk):
    """Show who did what to it and what changed."""
    use_case = load(request, pk)
    context = frame(request, use_case, "history") | {"page": history.of(request, use_case)}
    return render(request, "projects/use_case_history.html", context)


@declares("use_case.view")
@require_http_methods(["GET", "POST"])
def edit(request, pk):
    """Change the statement, the human oversight or the owner."""
    use_case = load(request, pk)
    names = [*UseCase.MATERIAL, *UseCase.TIER]
    initial = {name: getattr(use_case, name) for name in names} | {"owner": use_case.owner.email}
    form = UseCaseForm(
        request.POST or None,
        user=request.user,
        initial=initial,
        suggestions_url=reverse("projects:people_suggestions"),
    )
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        if values["owner"] == use_case.owner:
            del values["owner"]
        stage = use_case.stage
        changed = form.attempt(use_cases.change, use_case=use_case, **values)
        if changed is not None:
            say_what_changed(request, stage, changed)
            return redirect(changed)
    context = {"form": form, "use_case": use_case, "voids": use_case.stage in {Stage.SUBMITTED, Stage.APPROVED}}
    return render(request, "projects/use_case_form.html", context, status=422 if form.errors else 200)


def say_what_changed(request, stage: str, use_case: UseCase) -> None:
    """Tell the person that it is saved, and whether that took it back to draft."""
    if stage != use_case.stage:
        messages.warning(
            request, _("Saved. What was reviewed has changed, so it is a draft again: submit it when it is ready.")
        )
    else:
        messages.success(request, _("Saved."))


@declares("use_case.view")
@require_POST
def move(request, pk):
    """Move the use case to another stage, with a reason."""
    use_case = load(request, pk)
    form = MoveForm(request.POST, user=request.user)
    form.is_valid()
    target = request.POST.get("target", "")
    reason = form.cleaned_data.get("reason", "")
    if target not in Stage.values:
        messages.error(request, _("Choose one of the moves that the page offers."))
        return redirect(use_case)
    moved = use_cases.move(actor=request.user, use_case=use_case, target=target, reason=reason)
    if moved.stage == Stage.SUBMITTED:
        messages.success(request, _("It is before the reviewers now. You hear from them here and on your home page."))
    else:
        messages.success(request, _("It is now “%(stage)s”.") % {"stage": moved.get_stage_display().lower()})
    return redirect(use_case)
