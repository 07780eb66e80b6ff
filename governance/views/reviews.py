"""Reviews: the list of requests, and the page on which one is read, discussed and decided."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Exists, OuterRef, Prefetch, Q
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from governance.actions import Action
from governance.forms import CommentForm, ConditionForm, DecisionForm, RevokeForm
from governance.interfaces import listings, wording
from governance.interfaces.declared import declares
from governance.lists import DUE_FIRST, REVIEWS
from governance.models import ApprovalComment, ApprovalRequest, Decision, LedgerEntry
from governance.policy import GATES, REVIEWER_ROLES, TIERS, Gate, Permission, RiskTier
from governance.services import access, approvals, ledger

State = ApprovalRequest.State

LONG = 240
"""Texts longer than this many characters are compared in one column, word by word; shorter ones side by side."""


def _selected(request):
    """Return (requests, shown, gate, words): those that the reader may see, as the chips and the words leave them."""
    user = request.user
    decides = access.organisation_allows(user, Permission.REVIEW_DECIDE)
    shown = request.GET.get("show") or ("waiting" if decides else "open")
    mine = Decision.objects.filter(request=OuterRef("pk"), approver=user)
    rows = ApprovalRequest.objects.visible_to(user)
    selections = {
        "waiting": approvals.waiting_for(user) if decides else rows.none(),
        "open": rows.open(),
        "mine": rows.filter(requester=user),
        "decided": rows.filter(Exists(mine)),
        "closed": rows.exclude(state=State.OPEN),
        "all": rows,
    }
    if shown not in selections:
        raise BadRequest(_("There is no such selection; choose one of the chips."))
    selected = selections[shown]
    gate = request.GET.get("gate", "")
    if gate:
        if gate not in set(Gate):
            raise BadRequest(_("There is no such gate; choose one of the chips."))
        selected = selected.filter(gate=gate)
    words = request.GET.get("q", "").strip()[:100]
    if words:
        selected = selected.filter(Q(subject_label__icontains=words) | Q(requester__name__icontains=words))
    return selected.select_related("requester").defer("snapshot"), shown, gate, words


@declares("signed_in")
@require_GET
@listings.page(REVIEWS)
def reviews(request):
    """List the requests that the reader may see: what waits for them first."""
    decides = access.organisation_allows(request.user, Permission.REVIEW_DECIDE)
    selected, shown, gate, words = _selected(request)
    # What should have been decided longest ago comes first where something waits to be decided.
    listing = DUE_FIRST if shown in {"waiting", "open"} else REVIEWS
    listed = listings.show(request, listing, selected)
    labels = {
        "waiting": _("Waiting for me"),
        "open": _("Open"),
        "mine": _("Asked by me"),
        "decided": _("Decided by me"),
        "closed": _("Closed"),
        "all": _("All"),
    }
    context = {
        "listed": listed,
        "page": listed.page,
        "shown": shown,
        "gate": gate,
        "words": words,
        "chips": [(key, label) for key, label in labels.items() if decides or key not in {"waiting", "decided"}],
        "gates": [(g.value, GATES[g].question, g.value.replace("_", " ").capitalize()) for g in Gate],
        "decides": decides,
    }
    return render(request, "governance/reviews.html", context)


export = listings.export_view(REVIEWS, lambda request: _selected(request)[0], policy="signed_in")


@dataclass
class Part:
    """One part of the material on the page, with what was said about it and how it changed."""

    name: str
    text: str
    anchor: str
    change: wording.Change | None = None
    comments: list = field(default_factory=list)

    @property
    def is_long(self) -> bool:
        """Return whether it is a text to read rather than a value to look at."""
        return len(self.text) > LONG or "\n" in self.text

    @property
    def lines(self) -> list[str]:
        """Return its lines."""
        return self.text.splitlines()


@dataclass
class Event:
    """One thing that happened to the request, for the history."""

    at: object
    actor: object
    what: str
    icon: str
    tone: str = ""
    note: str = ""
    digest: str = ""
    url: str = ""
    extra: str = ""


_EVENTS = {
    Action.APPROVAL_WITHDRAWN: (gettext_lazy("withdrew the request"), "minus", ""),
    Action.APPROVAL_LAPSED: (gettext_lazy("ended what was asked or approved"), "warning", "warn"),
    Action.APPROVAL_REVOKED: (gettext_lazy("revoked the approval"), "x-circle", "bad"),
    Action.APPROVAL_ESCALATED: (gettext_lazy("reminded everybody who can decide: it is overdue"), "clock", "warn"),
}
WHAT_A_REVOCATION_DOES = {
    Gate.USE_CASE_DEVELOPMENT: gettext_lazy(
        "At once: the use case is a draft again, its queued and running training is cancelled, and every model that is "
        "published for it is no longer served or handed out. It can be asked for again."
    ),
    Gate.DATASET_USE: gettext_lazy(
        "At once: no training on this version for this use case starts, what is queued or running is cancelled, and "
        "models made of it for this use case are no longer served. It can be asked for again."
    ),
    Gate.MODEL_PUBLICATION: gettext_lazy(
        "At once: the model answers nobody under this alias, and its files are not handed out. To publish it again, "
        "approval has to be asked for again."
    ),
}
_DECIDED = (Action.APPROVAL_APPROVED, Action.APPROVAL_CHANGES_REQUESTED, Action.APPROVAL_REJECTED)
_VERDICTS = {
    "approve": (gettext_lazy("approved"), "check-circle", "good"),
    "request_changes": (gettext_lazy("asked for changes"), "edit", "warn"),
    "reject": (gettext_lazy("rejected"), "x-circle", "bad"),
}


def _visible(request, pk) -> ApprovalRequest:
    """Return the request with its subject, each in one query, and what the page draws of them."""
    asked = get_object_or_404(
        ApprovalRequest.objects.visible_to(request.user)
        .select_related("requester", "content_type", "compared_with__requester")
        .prefetch_related(Prefetch("decisions", Decision.objects.select_related("approver", "on_behalf_of"))),
        pk=pk,
    )
    model = asked.content_type.model_class()
    if model is not None:
        direct = [column.name for column in model._meta.concrete_fields if column.many_to_one]
        # What the material and the evidence both read is fetched once, where the subject names it.
        shared = getattr(model, "APPROVAL_PREFETCH", ())
        rows = model._default_manager.select_related(*direct).prefetch_related(*shared)
        asked.subject = rows.filter(pk=asked.object_id).first() or asked.subject
    return asked


def _parts(asked: ApprovalRequest, changes: list[wording.Change], comments: list[ApprovalComment]) -> list[Part]:
    by_part: dict[str, list[ApprovalComment]] = {}
    for comment in comments:
        by_part.setdefault(comment.part, []).append(comment)
    changed = {change.part: change for change in changes}
    return [
        Part(name, text, f"part-{number}", changed.get(name), by_part.get(name, []))
        for number, (name, text) in enumerate(approvals.parts(asked), 1)
    ]


def _checklist(asked: ApprovalRequest, subject) -> list[dict]:
    """Return the gate's conditions as they stood, each with a link that the reader of the review can follow.

    A condition's own link leads to where it is put right, often the requester's form; once it is met, the evidence is
    the subject itself.
    """
    own = subject.get_absolute_url() if subject is not None else ""
    return [
        {
            "label": check["label"],
            "met": check["met"],
            "note": "" if check["met"] else check["advice"],
            "url": own if check["met"] and check["url"].endswith("/edit/") else check["url"],
        }
        for check in asked.snapshot["checklist"]
    ]


def _evidence(subject) -> str | None:
    """Return the name of the template that shows this subject's evidence, where its package provides one."""
    if subject is None:
        return None
    meta = subject._meta
    try:
        return get_template(f"{meta.app_label}/evidence/{meta.model_name}.html").template.name
    except TemplateDoesNotExist:
        return None


def _history(asked: ApprovalRequest, decisions, comments, entries, linked) -> list[Event]:
    found = [
        Event(asked.requested_at, asked.requester, _("asked for approval"), "review", "info", asked.note, asked.digest)
    ]
    for decision in decisions:
        what, icon, tone = _VERDICTS[decision.verdict]
        if decision.on_behalf_of:
            what = _("%(what)s on behalf of %(person)s") % {"what": what, "person": decision.on_behalf_of}
        url = reverse("governance:decision_entry", args=[asked.pk, decision.pk]) if linked(decision) else ""
        found.append(
            Event(decision.decided_at, decision.approver, what, icon, tone, decision.comment, decision.digest, url,
                  decision.conditions)
        )  # fmt: skip
    if asked.escalated_at and asked.state == State.OPEN:
        what = _("reminded everybody who can decide: it is overdue")
        found.append(Event(asked.escalated_at, None, what, "clock", "warn"))
    for comment in comments:
        what = _("commented on %(part)s") % {"part": comment.part} if comment.part else _("commented")
        found.append(Event(comment.at, comment.author, what, "comment", note=comment.text))
    for entry in entries:
        if entry.action in _EVENTS:
            what, icon, tone = _EVENTS[entry.action]
            ends = {Action.APPROVAL_LAPSED, Action.APPROVAL_REVOKED}
            note = asked.closed_because if entry.action in ends else ""
            found.append(Event(entry.at, entry.actor, what, icon, tone, note, entry.subject_digest))
    return sorted(found, key=lambda event: event.at)


def _page(request, asked, *, decision=None, comment=None, revocation=None, status=200):
    """Draw the review page; `decision`, `comment` and `revocation` are forms that came back with errors."""
    user = request.user
    subject = asked.subject
    gate = Gate(asked.gate)
    is_open, is_approved = (asked.state == state for state in (State.OPEN, State.APPROVED))
    # Who reviews matters while somebody still can: afterwards it is not read.
    bench = approvals.bench() if is_open else approvals.Bench()
    say = approvals.say(user, asked, found=bench)
    decisions = sorted(asked.decisions.all(), key=lambda d: (d.decided_at, d.pk))
    comments = list(asked.comments.select_related("author"))
    # Asking, commenting and deciding are rows of their own; who withdrew, revoked or voided it is in the ledger alone.
    ended = asked.state in {State.WITHDRAWN, State.LAPSED, State.REVOKED}
    entries = (
        LedgerEntry.objects.about(asked)
        .filter(action__in=_EVENTS)
        .select_related("actor")
        .defer("canonical", "leaf_hash")
        .order_by("at", "id")[:20]
        if ended
        else []
    )
    before = approvals.previous(asked)
    changes = wording.changes(approvals.differences(before, asked)) if before else []
    drift = approvals.drift(asked) if is_open or is_approved else []
    stale = wording.changes([one for one in drift if one.material])
    parts = _parts(asked, changes, comments)
    checklist = _checklist(asked, subject)
    sees_ledger = access.organisation_allows(user, Permission.LEDGER_VIEW)
    steps = approvals.steps(asked, bench)
    context = {
        "asked": asked,
        "subject": subject,
        "gate": gate,
        "parts": parts,
        "part_names": [part.name for part in parts],
        "before": before,
        "changes": changes,
        "removed": [change for change in changes if change.kind == "removed"],
        "stale": stale,
        "checklist": checklist,
        "met": sum(check["met"] for check in checklist),
        "immaterial": wording.changes([one for one in drift if not one.material]),
        "outstanding": approvals.outstanding(asked, changed=bool(stale)),
        "decisions": decisions,
        "receipt": next((one for one in decisions if one.approver_id == user.pk), None),
        "steps": steps,
        "tier": TIERS[RiskTier(asked.tier)],
        "tier_reason": asked.snapshot["material"].get("Reason for the tier", ""),
        "conditions": list(asked.conditions.select_related("met_by")) if is_approved else [],
        "may_meet": is_approved and not approvals.may_meet(user, asked),
        "may_revoke": is_approved and not approvals.may_revoke(user, asked),
        "revocation": revocation or RevokeForm(),
        "revocation_text": WHAT_A_REVOCATION_DOES[gate],
        "history": _history(asked, decisions, comments, entries, lambda one: sees_ledger or one.approver_id == user.pk),
        "whole": Part("", "", "discussion", comments=[c for c in comments if not c.part]),
        "comment_count": len(comments),
        "may_delegate": bool(access.roles_of(user) & REVIEWER_ROLES),
        "why_not": "" if say.allowed else say.reason,
        "options": [(step, bench.names.get(principal, "")) for step, principal in say.options],
        "may_comment": access.allows(user, Permission.REVIEW_COMMENT, asked),
        "may_withdraw": asked.requester_id == user.pk and is_open,
        "is_requester": asked.requester_id == user.pk,
        "decision": decision or DecisionForm(initial={"digest": asked.digest}),
        "comment": comment or CommentForm(),
        "evidence": _evidence(subject),
    }
    return render(request, "governance/review.html", context, status=status)


@declares("signed_in")
@require_GET
def review(request, pk):
    """Show what is asked, what changed, all of the material, what is missing, and the way to decide."""
    return _page(request, _visible(request, pk))


@declares("review.decide")
@require_POST
def decide(request, pk):
    """Record the reader's verdict about the digest that their page showed."""
    asked = _visible(request, pk)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _page(request, asked, decision=form, status=422)
    try:
        decided = approvals.decide(actor=request.user, request=asked, **form.cleaned_data)
    except approvals.Invalid as error:
        form.add_error(error.field or None, str(error))
        return _page(request, asked, decision=form, status=422)
    except (approvals.Stale, approvals.Closed) as error:
        # What they typed is kept; the page itself shows what is different now.
        form.add_error(None, error.reason)
        return _page(request, _visible(request, pk), decision=form, status=409)
    messages.success(request, _("Your decision is recorded: %(state)s.") % {"state": decided.get_state_display()})
    return redirect("governance:review", pk=pk)


@declares("signed_in")
@require_POST
def comment(request, pk):
    """Add a comment to the request or to one part of it; as a fragment it answers with that part's discussion."""
    asked = _visible(request, pk)
    form = CommentForm(request.POST)
    if form.is_valid():
        try:
            said = approvals.comment(actor=request.user, request=asked, **form.cleaned_data)
        except approvals.Invalid as error:
            form.add_error(error.field if error.field == "text" else None, str(error))
        else:
            if not request.htmx:
                return redirect(f"{request.path.removesuffix('comments/')}{_anchor(asked, said.part)}")
            form = CommentForm()
    if not request.htmx:
        return _page(request, asked, comment=form, status=422)
    name = request.POST.get("part", "")
    parts = _parts(asked, [], list(asked.comments.select_related("author")))
    part = next((part for part in parts if part.name == name), None)
    if part is None:
        part = Part("", "", "discussion", comments=list(asked.comments.select_related("author").filter(part="")))
    context = {"asked": asked, "part": part, "form": form, "may_comment": True}
    return render(request, "governance/_discussion.html", context)


def _anchor(asked: ApprovalRequest, name: str) -> str:
    for number, (part, _text) in enumerate(approvals.parts(asked), 1):
        if part == name:
            return f"#part-{number}"
    return "#discussion"


@declares("signed_in")
@require_POST
def withdraw(request, pk):
    """Take the reader's own request back."""
    approvals.withdraw(actor=request.user, request=_visible(request, pk))
    messages.success(request, _("The request is withdrawn. You can change the subject and ask again."))
    return redirect("governance:review", pk=pk)


@declares("signed_in")
@require_POST
def revoke(request, pk):
    """Take an approval back; what rests on it stops."""
    asked = _visible(request, pk)
    form = RevokeForm(request.POST)
    if not form.is_valid():
        return _page(request, asked, revocation=form, status=422)
    try:
        approvals.revoke(actor=request.user, request=asked, **form.cleaned_data)
    except approvals.Invalid as error:
        form.add_error("reason", str(error))
        return _page(request, asked, revocation=form, status=422)
    messages.warning(request, _("The approval is revoked. What rests on it stops now."))
    return redirect("governance:review", pk=pk)


@declares("review.decide")
@require_POST
def meet(request, pk):
    """Mark a condition of the approval as met."""
    asked = _visible(request, pk)
    form = ConditionForm(request.POST)
    if not form.is_valid():
        raise BadRequest(_("Choose one of the conditions on the page."))
    condition = get_object_or_404(asked.conditions.all(), pk=form.cleaned_data["condition"])
    approvals.meet(actor=request.user, condition=condition, note=form.cleaned_data["note"])
    messages.success(request, _("The condition is marked as met."))
    return redirect(f"{reverse('governance:review', args=[pk])}#conditions")


@declares("signed_in")
@require_GET
def decision_entry(request, pk, decision):
    """Lead to the ledger's entry about one decision, if the reader may see it."""
    asked = get_object_or_404(ApprovalRequest.objects.visible_to(request.user), pk=pk)
    entries = LedgerEntry.objects.visible_to(request.user).about(asked).filter(action__in=_DECIDED).order_by("pk")
    for entry in entries[:100]:
        if ledger.body(entry)["details"].get("decision") == decision:
            return redirect("governance:ledger_entry", pk=entry.pk)
    raise Http404


@declares("signed_in")
@require_GET
def decision_receipt(request, pk, decision):
    """Lead an approver to the receipt of their own decision."""
    own = get_object_or_404(Decision, pk=decision, request=pk, approver=request.user)
    entry = ledger.decision_entry(own)
    if entry is None:
        raise Http404
    return redirect("governance:ledger_receipt", pk=entry.pk)
