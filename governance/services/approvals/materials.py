"""What is put before reviewers: its parts, its digest, and what differs between two of them.

Parts that the policy calls immaterial are shown like all others and are not in the digest: a change of one of them is
listed and voids nothing. Which they are is kept with each request, so that a new policy changes no old approval.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from governance.models import ApprovalRequest
from governance.policy import GATES, Gate, Involvement
from governance.proofs import canonical

SEPARATOR = " › "


@dataclass(frozen=True)
class Check:
    """One thing a gate wants: what it is, whether it is met, and what to do where it is not."""

    label: str
    met: bool
    advice: str = ""
    url: str = ""

    def as_dict(self) -> dict:
        """Return the check as it is kept in a snapshot."""
        return {"label": self.label, "met": self.met, "advice": self.advice, "url": self.url}


@dataclass(frozen=True)
class Involved:
    """Somebody's part in what is put before a gate; `sentence` goes on after "You" or a name: "uploaded the data"."""

    user_id: int
    kind: Involvement
    sentence: str


@dataclass(frozen=True)
class Difference:
    """One part of the material that differs between two snapshots; an absent part is an empty string."""

    part: str
    before: str
    after: str
    material: bool = True


def address(subject) -> str:
    """Return how a subject is named in digests and ledger entries."""
    return f"{subject._meta.label_lower}:{subject.pk}"


def digest_of(subject, gate: Gate) -> str:
    """Return the digest of what a reviewer of this subject would be shown and bind to now."""
    return digest(gate, subject, subject.approval_material(gate), GATES[gate].immaterial)


def digest(gate: Gate, subject, material: dict, immaterial: Collection[str]) -> str:
    """Return the digest of the parts of a material that bind."""
    binding = {part: value for part, value in material.items() if part not in immaterial}
    return canonical.digest({"gate": gate.value, "subject": address(subject), "material": binding})


def immaterial_of(request: ApprovalRequest) -> list[str]:
    """Return the parts that a request shows without binding to them."""
    return request.snapshot.get("immaterial", [])


def digest_for(request: ApprovalRequest, subject, material: dict | None = None) -> str:
    """Return what the digest of the request would be if it were asked with the subject as it is now."""
    gate = Gate(request.gate)
    now = subject.approval_material(gate) if material is None else material
    return digest(gate, subject, now, immaterial_of(request))


def compare(before: dict, after: dict, immaterial: Collection[str] = ()) -> list[Difference]:
    """Return the parts that differ between two materials, in the order of the newer one."""
    old, new = dict(_flatten(before)), dict(_flatten(after))
    names = [*new, *(part for part in old if part not in new)]
    return [
        Difference(part, old.get(part, ""), new.get(part, ""), part.split(SEPARATOR)[0] not in immaterial)
        for part in names
        if old.get(part) != new.get(part)
    ]


def parts(request: ApprovalRequest) -> list[tuple[str, str]]:
    """Return what was put before the reviewers as (part, text) pairs, in the order in which it was asked."""
    texts = dict(_flatten(request.snapshot["material"]))
    order = request.snapshot.get("order") or list(texts)
    return [(part, texts[part]) for part in order if part in texts]


def previous(request: ApprovalRequest) -> ApprovalRequest | None:
    """Return the approval that this request is to be compared with, as it was when this was asked, or None."""
    return request.compared_with


def last_approved(subject, gate: Gate) -> ApprovalRequest | None:
    """Return the newest request that opened the gate for what this subject is compared with, whether it still holds."""
    older = subject.approval_predecessor(gate)
    if older is None:
        return None
    return (
        ApprovalRequest.objects.about(older)
        .filter(gate=gate.value)
        .exclude(approved_at=None)
        .order_by("-requested_at", "-pk")
        .first()
    )


def differences(before: ApprovalRequest, after: ApprovalRequest) -> list[Difference]:
    """Return the parts that differ between what two requests put before the reviewers, in the newer one's order."""
    found = {d.part: d for d in compare(before.snapshot["material"], after.snapshot["material"], immaterial_of(after))}
    order = [part for part, _text in parts(after)]
    return [found[part] for part in [*order, *(part for part in found if part not in order)] if part in found]


def drift(request: ApprovalRequest) -> list[Difference]:
    """Return what is different now from what the request put before the reviewers; empty where nothing is.

    What is not `material` voids nothing.
    """
    if request.subject is None:
        return []
    now = canonical.plain(request.subject.approval_material(Gate(request.gate)))
    found = compare(request.snapshot["material"], now, immaterial_of(request))
    if not any(one.material for one in found) and digest_for(request, request.subject, now) != request.digest:
        # Reads alike and is not: a number that became a text, say. The digest differs, so the page has to say so.
        found.append(Difference("Form of the record", "as it was asked", "another form with the same words"))
    return found


def flatten(material: dict) -> list[tuple[str, str]]:
    """Return the material as (part, text) pairs in order, for a page."""
    return list(_flatten(material))


def _flatten(value, path: str = ""):
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flatten(item, f"{path}{SEPARATOR}{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value, 1):
            yield from _flatten(item, f"{path}{SEPARATOR}{index}")
    elif isinstance(value, list):
        yield path, "\n".join(_word(item) for item in value)
    else:
        yield path, "" if value == {} else _word(value)


def _word(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
