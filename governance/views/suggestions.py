"""What the ledger's filters suggest while somebody types: people who acted, and things that were acted on."""

from __future__ import annotations

from django.apps import apps
from django.db.models import Q
from django.shortcuts import render
from django.views.decorators.http import require_GET

from governance.interfaces.declared import declares
from governance.models import User
from governance.policy import Permission
from governance.services import access

FEW = 8
TITLES = ("title", "name", "email")
"""The columns by which a thing may be called, the most telling first."""


def people(user, words: str):
    """Return a few people whose name or address holds the words; also those whose account is switched off."""
    found = User.objects.visible_to(user).filter(Q(name__icontains=words) | Q(email__icontains=words))
    return found.order_by("name", "email").only("name", "email")[:FEW]


@declares("signed_in")
@require_GET
def actors(request):
    """Suggest people by what is typed of their name or address."""
    words = request.GET.get("actor", "").strip()[:100]
    found = [(one.email, str(one)) for one in people(request.user, words)] if len(words) > 1 else []
    return render(request, "governance/_options.html", {"options": found})


def _kinds(user):
    """Return the kinds of things whose readers can be listed, and people for who may see them."""
    found = [model for model in apps.get_models() if getattr(model, "SEEN_WITH", None)]
    return [*found, User] if access.organisation_allows(user, Permission.PERSON_VIEW) else found


def _called(model, user, words: str):
    columns = {field.name for field in model._meta.concrete_fields}
    rows = model.objects.visible_to(user)
    if "words" in columns:
        return rows.filter(words__begun=words)
    named = [name for name in TITLES if name in columns]
    if not named:
        return rows.none()
    rule = Q()
    for name in named:
        rule |= Q(**{f"{name}__icontains": words})
    return rows.filter(rule)


@declares("signed_in")
@require_GET
def subjects(request):
    """Suggest kinds of things, and single ones by what is typed of their title; a few of each kind."""
    words = request.GET.get("subject", "").strip()[:100]
    found: list[tuple[str, str]] = []
    for model in _kinds(request.user):
        label, kind = model._meta.label_lower, str(model._meta.verbose_name)
        if not words or words.lower() in label or words.lower() in kind:
            found.append((label, kind.capitalize()))
        if len(words) > 1:
            rows = _called(model, request.user, words).order_by("-pk")[:FEW]
            found += [(f"{label}:{row.pk}", f"{kind.capitalize()}: {row}") for row in rows]
    return render(request, "governance/_options.html", {"options": found})
