"""What every page's frame shows: the navigation, what waits for the reader, the version."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from governance.policy import Permission
from governance.services import access, approvals

WAITING_CAP = 100
"""Where the count beside "Reviews" stops, on every page."""


@dataclass(frozen=True)
class Item:
    """One line of the sidebar."""

    key: str
    label: str
    url: str
    icon: str
    current: bool
    count: int = 0


@dataclass(frozen=True)
class Navigation:
    """The sidebar, and which of its rarer parts this reader has."""

    items: list[Item]
    admin: bool
    compliance: bool


_AREAS = (
    ("home", "Home", "/", "home", ("/",)),
    ("use-cases", "Use cases", "/use-cases/", "use-case", ("/use-cases/", "/goals/", "/teams/")),
    ("datasets", "Datasets", "/datasets/", "dataset", ("/datasets/",)),
    ("training", "Training", "/training/", "training", ("/training/", "/base-models/")),
    ("models", "Models", "/models/", "model", ("/models/",)),
    ("usage", "Usage", "/usage/", "chart", ("/usage/", "/quotas/", "/feedback/")),
    ("reviews", "Reviews", "/reviews/", "review", ("/reviews/",)),
    ("compliance", "Compliance", "/compliance/", "compliance", ("/compliance/", "/ledger/")),
    ("admin", "Admin", "/administration/", "admin", ("/administration/",)),
)


def navigation(request) -> dict:
    """Return `nav`, `emergency` and `gatehouse_version` for base.html."""
    return {
        "nav": SimpleLazyObject(lambda: _navigation(request)),
        "emergency": SimpleLazyObject(lambda: _emergency(request)),
        "gatehouse_version": settings.GATEHOUSE_VERSION,
    }


def _emergency(request) -> list[access.Glass]:
    """Return the emergency accesses that are open in the reader's session."""
    user = getattr(request, "user", None)
    return access.emergency_of(user) if user is not None else []


def _navigation(request) -> Navigation:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return Navigation([], admin=False, compliance=False)
    administers = access.organisation_allows(user, Permission.PERSON_MANAGE)
    admin = administers or access.organisation_allows(user, Permission.BREAK_GLASS_OPEN)
    compliance = access.organisation_allows(user, Permission.COMPLIANCE_VIEW)
    waiting = 0
    if access.organisation_allows(user, Permission.REVIEW_DECIDE):
        waiting = approvals.waiting_for(user).order_by().values("pk")[:WAITING_CAP].count()
    hidden = {key for key, shown in (("admin", admin), ("compliance", compliance)) if not shown}
    items = [
        Item(
            key=key,
            label=_(label),
            # A superuser without roles finds there the one thing that they may do.
            url="/administration/break-glass/" if key == "admin" and not administers else url,
            icon=icon,
            current=request.path == "/" if key == "home" else request.path.startswith(paths),
            count=waiting if key == "reviews" else 0,
        )
        for key, label, url, icon, paths in _AREAS
        if key not in hidden
    ]
    return Navigation(items, admin=admin, compliance=compliance)
