"""Reviews: the list of requests, and the page on which one is read, discussed and decided."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Exists, OuterRef, Prefetch, Q
from django.shortcuts import get_object_or_404, redirect, render
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from governance.actions import Action
from governance.forms import CommentForm, DecisionForm
from governance.interfaces import listings, wording
from governance.interfaces.declared import declares
from governance.lists import REVIEWS
from governance.models import ApprovalComment, ApprovalRequest, Decision, LedgerEntry
from governance.policy import GATES, Gate, Permission
from governance.services import access, approvals

LONG = 240
"""Texts longer than this many characters are compared in one column, word by word; shorter ones side by side."""


def _selected(request):
    """Return (requests, shown, gate, words): those that the reader may see, as the chips and the words leave them."""
    user = request.user
    decides = access.organisation_allows(user, Permission.REVIEW_DECIDE)
    shown = request.GET.get("show") or ("waiting" if decides else "open")
    mine = Decision.objects.filter(request=OuterRef("pk"), approver=user)
    rows = ApprovalRequest.objects.visible_to(user).select_related("requester").defer("snapshot")
    selections = {
        "waiting": rows.open().exclude(requester=user).exclude(Exists(mine)) if decides else rows.none(),
        "open": rows.open(),
        "mine": rows.filter(requester=user),
        "decided": rows.filter(Exists(mine)),
        "closed": rows.exclude(state=ApprovalRequest.State.OPEN),
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
    return selected, shown, gate, words


@declares("signed_in")
@require_GET
@listings.page(REVIEWS)
def reviews(request):
    """List the requests that the reader may see: what waits for them first."""
    decides = access.organisation_allows(request.user, Permission.REVIEW_DECIDE)
    selected, shown, gate, words = _selected(request)
    listed = listings.show(request, REVIEWS, selected)
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
    Action.APPROVAL_LAPSED: (gettext_lazy("changed the subject, so the request lapsed"), "warning", "warn"),
}
_VERDICTS = {
    "approve": (gettext_lazy("approved"), "check-circle", "good"),
    "request_changes": (gettext_lazy("asked for changes"), "edit", "warn"),
    "reject": (gettext_lazy("rejected"), "x-circle", "bad"),
}


def _visible(request, pk) -> ApprovalRequest:
    """Return the request with its subject, each in one query, and what the page draws of them."""
    asked = get_object_or_404(
        ApprovalRequest.objects.visible_to(request.user)
        .select_related("requester", "content_type")
        .prefetch_related(Prefetch("decisions", Decision.objects.select_related("approver"))),
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


def _why_not(user, asked: ApprovalRequest, decisions: list[Decision]) -> str:
    """Return why the reader cannot decide, in one sentence; an empty string where they can."""
    if asked.state != ApprovalRequest.State.OPEN:
        return _("This request is closed, so there is nothing left to decide.")
    if asked.requester_id == user.pk:
        return _(
            "You asked for this approval, so someone else has to decide it. You can answer comments or withdraw it."
        )
    if not access.organisation_allows(user, GATES[Gate(asked.gate)].approver):
        return _("Deciding needs the role of a reviewer. You can read everything that they see.")
    if any(decision.approver_id == user.pk for decision in decisions):
        return _("You have decided; the gate needs another person.")
    return ""


def _evidence(subject) -> str | None:
    """Return the name of the template that shows this subject's evidence, where its package provides one."""
    if subject is None:
        return None
    meta = subject._meta
    try:
        return get_template(f"{meta.app_label}/evidence/{meta.model_name}.html").template.name
    except TemplateDoesNotExist:
        return None


def _history(asked: ApprovalRequest, decisions, comments, entries) -> list[Event]:
    found = [
        Event(asked.requested_at, asked.requester, _("asked for approval"), "review", "info", asked.note, asked.digest)
    ]
    for decision in decisions:
        what, icon, tone = _VERDICTS[decision.verdict]
        found.append(
            Event(decision.decided_at, decision.approver, what, icon, tone, decision.comment, decision.digest,
                  extra=decision.conditions)
        )  # fmt: skip
    for comment in comments:
        what = _("commented on %(part)s") % {"part": comment.part} if comment.part else _("commented")
        found.append(Event(comment.at, comment.author, what, "comment", note=comment.text))
    for entry in entries:
        if entry.action in _EVENTS:
            what, icon, tone = _EVENTS[entry.action]
            note = asked.closed_because if entry.action == Action.APPROVAL_LAPSED else ""
            found.append(Event(entry.at, entry.actor, what, icon, tone, note, entry.subject_digest))
    return sorted(found, key=lambda event: event.at)


def _page(request, asked, *, decision=None, comment=None, status=200):
    """Draw the review page; `decision` and `comment` are forms that came back with errors."""
    user = request.user
    subject = asked.subject
    gate = Gate(asked.gate)
    decisions = sorted(asked.decisions.all(), key=lambda d: (d.decided_at, d.pk))
    comments = list(asked.comments.select_related("author"))
    # Asking, commenting and deciding are rows of their own; who withdrew it or made it lapse is in the ledger alone.
    ended = asked.state in {ApprovalRequest.State.WITHDRAWN, ApprovalRequest.State.LAPSED}
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
    stale = []
    if subject is not None and asked.state == ApprovalRequest.State.OPEN:
        stale = wording.changes(approvals.drift(asked))
    why_not = _why_not(user, asked, decisions)
    parts = _parts(asked, changes, comments)
    checklist = _checklist(asked, subject)
    rule = GATES[gate]
    approved = [d for d in decisions if d.verdict == Decision.Verdict.APPROVE]
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
        "outstanding": approvals.outstanding(asked, changed=bool(stale)),
        "decisions": decisions,
        "approved": approved,
        "quorum": rule.quorum,
        "history": _history(asked, decisions, comments, entries),
        "whole": Part("", "", "discussion", comments=[c for c in comments if not c.part]),
        "comment_count": len(comments),
        "why_not": why_not,
        "may_comment": access.allows(user, Permission.REVIEW_COMMENT, asked),
        "may_withdraw": asked.requester_id == user.pk and asked.state == ApprovalRequest.State.OPEN,
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
