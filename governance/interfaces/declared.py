"""Every route says who it is for. A route that says nothing is refused by the site and fails the build."""

from __future__ import annotations

from governance.policy import Permission

PUBLIC = "public"
SIGNED_IN = "signed_in"


def declares(policy: str):
    """Return a decorator that attaches a policy to a view: a Permission's value, "signed_in" or "public".

    The permission named is the one the view's service or `visible_to` asks for; the declaration itself lets nobody in
    beyond requiring a signed-in person. Raises ValueError for an unknown word.
    """
    if policy not in {PUBLIC, SIGNED_IN}:
        Permission(policy)

    def attach(view):
        view.gatehouse_policy = policy
        return view

    return attach


def policy_of(callback, method: str = "GET") -> str | dict | None:
    """Return the policy declared by a resolved view function or class, or None."""
    for target in (callback, getattr(callback, "cls", None), getattr(callback, "view_class", None)):
        policy = getattr(target, "gatehouse_policy", None)
        if policy:
            return policy
    return None
