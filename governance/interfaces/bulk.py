"""One verb for several rows: each row is checked, changed and recorded by its own service, and has its own outcome.

What is refused for one row does not keep the others from being done. The page first asks and says what will happen;
the API does it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from governance.interfaces.declared import declares
from governance.interfaces.listings import Listing, Verb
from governance.interfaces.problems import record_refusal
from governance.services import access

LIMIT = 200
"""Rows that one request may name."""


@dataclass(frozen=True)
class Outcome:
    """What became of one row: done, or refused with a sentence and a word for programs."""

    pk: int
    label: str
    address: str
    done: bool
    sentence: str = ""
    code: str = ""


def perform(request, listing: Listing, verb: Verb, rows: QuerySet, ids: list[int], reason: str) -> list[Outcome]:
    """Do the verb to each of the rows named, in their order, and say what became of each.

    A row that the caller may not see is not there. A refusal is recorded like any other.
    """
    assert verb.act is not None, "a verb that leads somewhere is not performed"
    found = {row.pk: row for row in rows.filter(pk__in=ids)}
    outcomes = []
    for pk in dict.fromkeys(ids):
        row = found.get(pk)
        if row is None:
            sentence = _("There is nothing here that you may see.")
            outcomes.append(Outcome(pk, f"#{pk}", "", False, sentence, "not_found"))
            continue
        label, address = listing.label(row), _address(listing, row)
        try:
            with transaction.atomic():
                verb.act(request.user, row, reason)
        except access.Denied as error:
            record_refusal(getattr(request, "_request", request), error, request.user)
            sentence = " ".join([error.reason, *(str(one) for one in error.missing if str(one) not in error.reason)])
            outcomes.append(Outcome(pk, label, address, False, sentence, error.code))
        except ValueError as error:
            if not (hasattr(error, "field") or hasattr(error, "errors")):
                raise
            outcomes.append(Outcome(pk, label, address, False, str(error), "invalid"))
        else:
            outcomes.append(Outcome(pk, label, address, True))
    return outcomes


def _address(listing: Listing, row) -> str:
    leads = listing.columns[0].link
    return leads(row) if leads is not None else ""


def view(listing: Listing, rows: Callable[[Any], QuerySet], *, policy: str):
    """Return the view that a list's buttons post to; `rows(request)` are all rows that the reader may see."""

    @declares(policy)
    @require_POST
    def posted(request):
        if policy.endswith(".view"):
            access.require_somewhere(request.user, policy)
        verb = next((one for one in listing.verbs if one.key == request.POST.get("verb")), None)
        ids = [int(value) for value in request.POST.getlist("row") if value.isdecimal() and len(value) < 19]
        back = request.POST.get("back", "")
        here = reverse(listing.url) + (f"?{back}" if back else "")
        context = {"listing": listing, "verb": verb, "here": here, "back": back, "ids": ids}
        context["problem"] = (
            _("Choose one of the actions that the list offers.")
            if verb is None
            else _("Choose the rows first: tick the boxes at their beginning.")
            if not ids
            else _("Choose at most %(limit)s rows at a time.") % {"limit": LIMIT}
            if len(ids) > LIMIT
            else ""
        )
        if context["problem"]:
            return render(request, "governance/bulk.html", context, status=422)
        if verb.leads is not None:
            return redirect(verb.leads(list(rows(request).filter(pk__in=ids))))
        reason = request.POST.get("reason", "").strip()[:1000]
        asked = "confirmed" in request.POST
        if not asked or (verb.reason and not reason):
            context["rows"] = [(listing.label(row), _address(listing, row)) for row in rows(request).filter(pk__in=ids)]
            context["unexplained"] = asked
            return render(request, "governance/bulk.html", context, status=422 if asked else 200)
        outcomes = perform(request, listing, verb, rows(request), ids, reason)
        context |= {"outcomes": outcomes, "done": sum(outcome.done for outcome in outcomes)}
        return render(request, "governance/bulk.html", context)

    posted.__doc__ = f"Do one verb of the list “{listing.key}” to the rows that were ticked, once it is confirmed."
    return posted


class BulkSerializer(serializers.Serializer):
    """Which verb, for which rows, and why."""

    verb = serializers.CharField(max_length=40, help_text="One of the verbs of the list.")
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**53), min_length=1, max_length=LIMIT
    )
    reason = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")


class OutcomeSerializer(serializers.Serializer):
    """What became of one row."""

    id = serializers.IntegerField(source="pk")
    label = serializers.CharField()
    done = serializers.BooleanField()
    code = serializers.CharField(allow_blank=True, help_text="A word for programs where it was refused.")
    detail = serializers.CharField(source="sentence", allow_blank=True, help_text="Why it was refused, in a sentence.")


class BulkAnswerSerializer(serializers.Serializer):
    """What became of each row, in the order in which they were named."""

    done = serializers.IntegerField(help_text="How many were done.")
    results = OutcomeSerializer(many=True)


class Bulk:
    """For an endpoint that has a `listing`: its verbs for several rows in one call.

    The endpoint's policy names `bulk`; it has to be a permission that every verb's people hold.
    """

    listing: Listing

    @extend_schema(request=BulkSerializer, responses=BulkAnswerSerializer, filters=False)
    @action(detail=False, methods=["post"], pagination_class=None)
    def bulk(self, request, *args, **kwargs):
        """Do one verb to several rows; each is checked and recorded by itself and has its own outcome."""
        asked = self.checked(BulkSerializer)
        verbs = {verb.key: verb for verb in self.listing.verbs if verb.act is not None}
        verb = verbs.get(asked["verb"])
        if verb is None:
            raise exceptions.ValidationError({"verb": [f"Choose one of: {', '.join(verbs)}."]})
        if verb.reason and not asked["reason"].strip():
            raise exceptions.ValidationError({"reason": [verb.reason]})
        rows = self.model.objects.visible_to(request.user)
        outcomes = perform(request, self.listing, verb, rows, asked["ids"], asked["reason"].strip())
        answer = {"done": sum(outcome.done for outcome in outcomes), "results": outcomes}
        return Response(BulkAnswerSerializer(answer).data)
