"""Pages that join packages: home, search, health, and what is shown when something goes wrong."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import login
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Q
from django.http import HttpResponse, HttpResponseServerError, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from governance import guards
from governance.interfaces import problems
from governance.interfaces.declared import declares
from governance.interfaces.paging import CappedCount
from governance.models import AccessReview, ApprovalRequest, BreakGlass, Erasure, User
from governance.policy import Permission
from governance.services import access, approvals
from portal import welcome as tickets
from portal.gateway import engines, metering, predictions
from projects.models import Dataset, DatasetVersion, Team, UseCase
from training.models import BaseModel, ModelVersion, Publication, RegisteredModel, TrainingJob

SEARCH_EACH = 8


@declares("signed_in")
def home(request):
    """Show what waits for the reader, what is running, what failed, what was published; then the organisation."""
    user = request.user
    reviewer = access.organisation_allows(user, Permission.REVIEW_DECIDE)
    waiting = approvals.waiting_for(user) if reviewer else ApprovalRequest.objects.open().filter(requester=user)
    jobs = TrainingJob.objects.visible_to(user).select_related("team").defer("spec", "dry_run", "summary")
    context = {
        "reviewer": reviewer,
        "waiting": waiting.select_related("requester").defer("snapshot").order_by("due_at", "pk")[:8],
        "drafts": UseCase.objects.filter(owner=user, stage="draft").select_related("team")[:5],
        "running": jobs.filter(state__in=["queued", "running"])[:6],
        "failed": jobs.filter(state="failed")[:4],
        "refused": DatasetVersion.objects.visible_to(user)
        .filter(state="refused", created_by=user)
        .select_related("dataset__team")
        .defer("profile", "errors", "changes", "source")[:3],
        "published": Publication.objects.visible_to(user)
        .live()
        .select_related("model__team", "version")
        .order_by("-published_at")[:6],
        "numbers": _numbers(user),
        "has_team": bool(access.scope_ids(user, Permission.TEAM_VIEW)),
    }
    return render(request, "portal/home.html", context)


def _numbers(user) -> dict:
    """Return the counts of what the reader may see, each capped, all in one query."""
    cases = UseCase.objects.visible_to(user)
    counted = {
        "use_cases": cases,
        "live": cases.filter(stage__in=["live", "piloting"]),
        "datasets": Dataset.objects.visible_to(user),
        "versions": ModelVersion.objects.visible_to(user),
        "published": RegisteredModel.objects.usable_by(user),
        "emergencies": BreakGlass.objects.to_review_by(user),
        "overdue_emergencies": BreakGlass.objects.to_review_by(user).overdue(),
        "erasures_to_decide": Erasure.objects.to_decide_by(user),
        "reviews_to_do": AccessReview.objects.to_do_by(user),
        "overdue_reviews": AccessReview.objects.to_do_by(user).overdue(),
    }
    one = User.objects.filter(pk=user.pk).values(**{name: CappedCount(rows) for name, rows in counted.items()})
    return one.get()


@declares("signed_in")
def search(request):
    """Find models, use cases, datasets, base models and teams by words, among what the reader may see."""
    words = " ".join(request.GET.get("q", "").split())[:100]
    groups = _found(request.user, words) if words else []
    template = "portal/_results.html" if getattr(request, "htmx", False) else "portal/search.html"
    return render(request, template, {"words": words, "groups": groups})


def _found(user, words: str) -> list[tuple[str, str, list[dict]]]:
    """Return (heading, icon, rows) of each kind of thing in which something matches."""
    sources = (
        (
            _("Models"),
            "model",
            RegisteredModel.objects.visible_to(user)
            .filter(Q(name__icontains=words) | Q(title__icontains=words))
            .select_related("team"),
            lambda row: (row.title, str(row)),
        ),
        (
            _("Use cases"),
            "use-case",
            UseCase.objects.visible_to(user).filter(words__begun=words).select_related("team").defer("words"),
            lambda row: (row.title, f"{row.team} · {row.get_stage_display()}"),
        ),
        (
            _("Datasets"),
            "dataset",
            Dataset.objects.visible_to(user).filter(words__begun=words).select_related("team").defer("words"),
            lambda row: (row.title, str(row)),
        ),
        (
            _("Base models"),
            "spark",
            BaseModel.objects.visible_to(user).filter(Q(name__icontains=words) | Q(title__icontains=words)),
            lambda row: (row.title, f"{row.task} · {row.get_state_display()}"),
        ),
        (
            _("Teams"),
            "team",
            Team.objects.visible_to(user).filter(Q(name__icontains=words) | Q(slug__icontains=words)),
            lambda row: (row.name, row.description),
        ),
    )
    groups = []
    for heading, icon, rows, shown in sources:
        found = []
        for row in rows[:SEARCH_EACH]:
            title, note = shown(row)
            found.append({"title": title, "note": note, "url": row.get_absolute_url()})
        if found:
            groups.append((heading, icon, found))
    return groups


@declares("signed_in")
@require_POST
def try_model(request, team, name):
    """Run the text of the try-it box on a model's page and show the labels; works as a page and as a fragment."""
    model = get_object_or_404(
        RegisteredModel.objects.visible_to(request.user).select_related("team"), team__slug=team, name=name
    )
    text = request.POST.get("text", "")
    context = {"model": model, "text": text}
    try:
        context["prediction"] = predictions.predict(
            actor=request.user,
            model=model,
            texts=[text],
            top_k=5,
            alias=request.POST.get("alias", "champion"),
            client=request.headers.get("User-Agent", ""),
        )
    except (predictions.Invalid, engines.Unavailable, metering.Exceeded) as error:
        context["problem"] = str(error)
    else:
        context["near"] = [one for one in context["prediction"].call.standings if one.near]
    template = "portal/_prediction.html" if getattr(request, "htmx", False) else "portal/try_model.html"
    return render(request, template, context)


@declares("public")
@never_cache
def welcome(request, ticket):
    """Sign in with a one-time link of the worked example; works in DEBUG on loopback alone."""
    user = tickets.redeem(ticket) if tickets.are_open() else None
    if user is None:
        reason = "This sign-in link is not known, was used, or is not offered here."
        problems.record_refusal(request, access.Denied(reason, code="welcome"), request.user)
        return render(request, "portal/welcome_refused.html", status=403)
    login(request, user, backend=settings.SIGN_IN_BACKEND)
    return redirect("portal:home")


@declares("public")
def healthz(request):
    """Say that the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@declares("public")
def readyz(request):
    """Say whether work can be done: the database answers and is migrated; and tell whether the engine is up."""
    parts = {"database": _database(), "engine": predictions.engine_state()}
    ready = parts["database"] == "ok"
    return JsonResponse({"ready": ready, "parts": parts}, status=200 if ready else 503)


def _database() -> str:
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "migrations are waiting: run `python manage.py migrate`"
        if guards.missing():
            # A migration that failed half-way leaves them off: governed rows could change without an entry.
            return "guards of governed tables are off: run `python manage.py migrate`"
    except DatabaseError:
        return "the database does not answer"
    return "ok"


def bad_request(request, exception=None):
    """Show what was wrong with the request."""
    return render(request, "400.html", {"reason": str(exception or "")}, status=400)


def refused(request, exception=None):
    """Show why the request was refused."""
    return render(request, "403.html", {"reason": str(exception or "")}, status=403)


def not_found(request, exception=None):
    """Show that there is nothing here that the reader may see."""
    return render(request, "404.html", status=404)


def too_many(request, wait: int = 60, reason: str = ""):
    """Say that something was asked too often and when to come back, in seconds; or that a quota has no room."""
    page = render(request, "429.html", {"wait": wait, "reason": reason}, status=429)
    page["Retry-After"] = str(wait)
    return page


def server_error(request):
    """Show that the fault is ours, with the request's id to report.

    Rendered without the request: who is reading, and what waits for them, would be asked of a database that may be
    the very thing that failed.
    """
    page = render_to_string("500.html", {"request_id": getattr(request, "request_id", "")})
    return HttpResponseServerError(page)
