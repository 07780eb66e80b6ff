"""The ledger explorer, receipts, exports and erasure, and the page that says up to where the ledger is sound."""

from __future__ import annotations

import datetime
import json

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Count, Min
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from governance.actions import Action
from governance.forms import EraseForm, ExportForm
from governance.interfaces import listings, streaming
from governance.interfaces.declared import declares
from governance.interfaces.paging import keyset
from governance.lists import LEDGER
from governance.models import (
    ApprovalRequest,
    Checkpoint,
    LedgerEntry,
    PendingEntry,
    Receipt,
    SealedEntry,
    SigningKey,
    User,
    Verification,
)
from governance.policy import GATES, Permission
from governance.services import access, erasures
from governance.services import ledger as records
from governance.views import suggestions
from governance.views.erasures import told

VERIFY_AT_MOST = 10_000
"""Entries that a page verifies while the reader waits: about a second. Beyond, a worker does it."""


def _day(text: str) -> datetime.datetime | None:
    if not text:
        return None
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise BadRequest(_("“%(text)s” is not a date; write it as 2026-01-31.") % {"text": text[:40]})
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time()))


def _actor(user, typed: str) -> User | None:
    """Return the person with this address, else the only one whose name or address holds what was typed."""
    person = User.objects.filter(email=typed.lower()).first()
    if person is not None:
        return person
    found = list(suggestions.people(user, typed)[:2])
    return found[0] if len(found) == 1 else None


def _filtered(request):
    """Return (entries, filters): what the reader may see, narrowed by the address."""
    rows = LedgerEntry.objects.visible_to(request.user)
    given = {key: request.GET.get(key, "").strip()[:200] for key in ("actor", "action", "subject", "since", "until")}
    if given["actor"]:
        person = _actor(request.user, given["actor"])
        rows = rows.filter(actor=person) if person is not None else rows.none()
    if given["action"]:
        if given["action"] not in set(Action):
            raise BadRequest(_("There is no such action; choose one from the list."))
        rows = rows.filter(action=given["action"])
    if given["subject"]:
        kind, _colon, number = given["subject"].partition(":")
        rows = rows.filter(subject_type=kind.lower())
        if number:
            rows = rows.filter(subject_id=number)
    since, until = _day(given["since"]), _day(given["until"])
    if since:
        rows = rows.filter(at__gte=since)
    if until:
        rows = rows.filter(at__lt=until + datetime.timedelta(days=1))
    return rows, given


def _light(rows):
    return rows.select_related("actor", "on_behalf_of", "sealed").defer("canonical", "leaf_hash")


@declares("signed_in")
@require_GET
@listings.page(LEDGER)
def ledger(request):
    """List entries, newest first, with filters; any depth costs the same."""
    rows, given = _filtered(request)
    shown = listings.show(request, LEDGER, _light(rows))
    context = {
        "shown": shown,
        "page": shown.page,
        "given": given,
        "filtered": any(given.values()),
        "actions": [action.value for action in Action],
        "everything": access.organisation_allows(request.user, Permission.LEDGER_VIEW),
        "newest": Checkpoint.objects.only("size", "at").first(),
    }
    return render(request, "governance/ledger.html", context)


export = listings.export_view(LEDGER, lambda request: _light(_filtered(request)[0]), policy="signed_in")


@declares("signed_in")
@require_GET
def entry(request, pk):
    """Show one entry: who, what, before and after, its exact bytes, and how it is proved and anchored."""
    return _entry(request, _load(request, pk))


def _load(request, pk) -> LedgerEntry:
    rows = LedgerEntry.objects.visible_to(request.user).select_related("actor", "on_behalf_of", "sealed")
    return get_object_or_404(rows.prefetch_related("texts"), pk=pk)


def _entry(request, found, *, form=None):
    number = found.sealed.number if hasattr(found, "sealed") else None
    checkpoint = Checkpoint.objects.filter(size__gt=number).order_by("size").first() if number is not None else None
    held = records.body(found)
    changes = [{"label": c.name, "before": c.before, "after": c.after} for c in records.changes_of(found)]
    texts = {name: text for name, text in records.texts_of(found, held).items() if ":" not in name}
    # What was left open, such as the end of an approval without one, says nothing to a reader; the bytes still hold it.
    details = {
        name: _shown(value) for name, value in held["details"].items() if name != "changed" and value not in ("", None)
    }
    context = {
        "entry": found,
        "number": number,
        "checkpoint": checkpoint,
        "proof": _proof(found, checkpoint) if checkpoint is not None else None,
        "anchors": records.covering(number) if checkpoint is not None else [],
        "erase": (form or EraseForm())
        if found.texts.all() and access.organisation_allows(request.user, Permission.TEXT_ERASE)
        else None,
        "changes": changes,
        "texts": texts.items(),
        "details": details.items(),
        "canonical": bytes(found.canonical).decode(),
        "leaf_hash": bytes(found.leaf_hash).hex(),
    }
    return render(request, "governance/ledger_entry.html", context, status=422 if form is not None else 200)


def _proof(found: LedgerEntry, checkpoint: Checkpoint) -> dict:
    """Return the inclusion proof in the first checkpoint that covers the entry, or why there is none."""
    try:
        return {"holds": True, "steps": len(records.inclusion(found, checkpoint=checkpoint).path)}
    except records.LedgerError as error:
        return {"holds": False, "problem": str(error)}


@declares("signed_in")
@require_GET
def receipt(request, pk):
    """Give the receipt of an entry that the reader may see, to keep."""
    found = _load(request, pk)
    try:
        made = records.receipt_for(found)
    except records.NotSealed as error:
        raise Http404(str(error)) from error
    response = HttpResponse(json.dumps(made, indent=1), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="receipt-{made["entry"]["number"]}.json"'
    return response


@declares("signed_in")
@require_GET
def receipts(request):
    """List the receipts for the reader's own decisions, newest first."""
    rows = Receipt.objects.visible_to(request.user).select_related("entry__sealed").defer("entry__canonical")
    page = keyset(rows, request, order=("-id",))
    return render(request, "governance/receipts.html", {"page": page})


@declares("text.erase")
@require_POST
def erase(request, pk):
    """Erase the texts of one entry, or ask a second person to agree; its bytes, number and every proof stay."""
    found = get_object_or_404(LedgerEntry.objects.erasable_by(request.user), pk=pk)
    readable = LedgerEntry.objects.visible_to(request.user).filter(pk=pk).exists()
    form = EraseForm(request.POST)
    if not form.is_valid() and readable:
        return _entry(request, _load(request, pk), form=form)
    if not form.is_valid():
        raise BadRequest(_("Say in at least ten characters why."))
    try:
        asked = erasures.ask(actor=request.user, entry=found, **form.cleaned_data)
    except erasures.Invalid as error:
        messages.error(request, str(error))
    else:
        told(request, asked)
    return redirect("governance:ledger_entry", pk=pk) if readable else redirect("governance:erasures")


@declares("ledger.view")
@require_POST
def archive(request):
    """Send the ledger, or a stretch of it, as a ZIP that proves itself; that it was taken is recorded first."""
    access.require(request.user, Permission.LEDGER_VIEW)
    form = ExportForm(request.POST)
    if form.is_valid():
        try:
            begun = records.begin(actor=request.user, **form.cleaned_data)
        except records.NotSealed as error:
            form.add_error(None, str(error))
        else:
            pieces = records.pieces(begun)
            return streaming.attachment(request, pieces, filename=begun.filename, content_type="application/zip")
    return _compliance(request, export=form)


def _shown(value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@declares("compliance.view")
@require_GET
def compliance(request):
    """Say when the ledger was verified and up to where, what the newest checkpoint is, and how the gates stand."""
    access.require(request.user, Permission.COMPLIANCE_VIEW)
    return _compliance(request)


def _compliance(request, *, export=None):
    verified = LedgerEntry.objects.filter(action=Action.LEDGER_VERIFIED).select_related("actor").order_by("-at", "-id")
    last = verified.first()
    counts = {
        row["gate"]: row
        for row in ApprovalRequest.objects.open()
        .values("gate")
        .annotate(open=Count("pk"), oldest=Min("requested_at"))
        .order_by()
    }
    newest = Checkpoint.objects.first()
    size = newest.size if newest else 0
    anchors = records.newest()
    context = {
        "last": last,
        "result": records.body(last)["details"] if last else None,
        "newest": newest,
        "size": size,
        "unsealed": PendingEntry.objects.count(),
        "origin": settings.LEDGER_ORIGIN,
        "gates": [
            {
                "gate": gate.value,
                "question": rule.question,
                "needs": [
                    (tier.value, ", ".join(step.label.lower() for step in steps)) for tier, steps in rule.steps.items()
                ],
                "open": counts.get(gate.value, {}).get("open", 0),
                "oldest": counts.get(gate.value, {}).get("oldest"),
            }
            for gate, rule in GATES.items()
        ],
        "may_verify": access.organisation_allows(request.user, Permission.LEDGER_VIEW),
        "small": size <= VERIFY_AT_MOST,
        "running": Verification.objects.first(),
        "anchors": anchors,
        "outside": max((anchor.size for anchor in anchors if anchor.succeeded), default=0),
        "anchored": bool(settings.LEDGER_ANCHORS),
        "keys": list(SigningKey.objects.order_by("-first_size")[:5]),
        "owed": Receipt.objects.filter(sent_at=None).exclude(problem="").count(),
        "export": export or ExportForm(),
    }
    return render(request, "governance/compliance.html", context, status=422 if export is not None else 200)


@declares("compliance.view")
@require_GET
def verification(request):
    """Show how far the verification that a worker does has come: a fragment that asks again by itself."""
    access.require(request.user, Permission.COMPLIANCE_VIEW)
    return render(request, "governance/_verification.html", {"running": Verification.objects.first()})


@declares("ledger.view")
@require_POST
def verify(request):
    """Verify the ledger: at once where it is small, else by a worker, whose progress the page shows."""
    access.require(request.user, Permission.LEDGER_VIEW)
    last = SealedEntry.objects.order_by("-number").values_list("number", flat=True).first()
    if last is not None and last >= VERIFY_AT_MOST:
        records.ask(actor=request.user)
        messages.info(request, _("A worker verifies the ledger now; you can leave this page."))
        return redirect("governance:compliance")
    try:
        report = records.check(actor=request.user, pins=records.kept())
    except records.NoKey as error:
        messages.error(request, str(error))
        return redirect("governance:compliance")
    if report.sound:
        messages.success(request, _("The ledger is sound: %(size)s entries.") % {"size": report.size})
    else:
        messages.error(request, _("The ledger is not sound. %(problem)s") % {"problem": report.problems[0]})
    return redirect("governance:compliance")
