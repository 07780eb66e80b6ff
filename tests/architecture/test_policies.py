"""Every route declares who may use it; the site refuses what declares nothing, and this names it before anyone meets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from governance.interfaces import declared
from portal.middleware import OTHERS


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, object]]:
    for entry in resolver.url_patterns:
        path = f"{prefix}{entry.pattern}"
        if isinstance(entry, URLPattern):
            yield path, entry.callback
        else:
            yield from routes(entry, path)


def target(callback) -> object:
    return getattr(callback, "cls", None) or getattr(callback, "view_class", None) or callback


ROUTES = list(routes(get_resolver()))


@pytest.mark.parametrize(("path", "callback"), ROUTES, ids=[path or "(home)" for path, _ in ROUTES])
def test_a_route_declares_its_policy(path, callback):
    view = target(callback)
    # The site refuses what its middleware does not know, Django's shortcuts inside its own admin among it.
    if getattr(view, "__module__", "").startswith((*OTHERS, "django.") if path.startswith("django-admin/") else OTHERS):
        return
    assert None not in declared.policies_of(callback).values(), (
        f"/{path} ({view.__module__}.{getattr(view, '__qualname__', view)}) declares no policy, so nobody may use it. "
        "Declare it with governance.interfaces.declared."
    )


def test_the_map_of_the_site_is_not_empty():
    assert len(ROUTES) > 10


def test_other_peoples_views_are_few_and_known():
    strangers = {target(callback).__module__.split(".")[0] for _, callback in ROUTES}
    assert strangers <= {"portal", "projects", "training", "governance", "allauth", "django", "drf_spectacular"}, (
        f"A view of a package that was not there before: {strangers}. Give its routes a policy of our own."
    )
