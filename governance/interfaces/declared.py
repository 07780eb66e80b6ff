"""Every route says who it is for. A route that says nothing is refused by the site and fails the build."""

from __future__ import annotations

from governance.policy import Permission
from governance.services import access

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


def admit(user, policy: str) -> None:
    """Raise access.Denied for a person who may not do such a thing anywhere, before anything of the call is read.

    Looking is left to `visible_to`, which answers "not there": some may see an object without a role, such as whoever
    proposed it.
    """
    if policy not in {PUBLIC, SIGNED_IN} and not policy.endswith(".view"):
        access.require_somewhere(user, policy)


def policies_of(callback) -> dict[str, str | None]:
    """Return the policy of each method of a resolved view; "*" stands for every method of a view without actions.

    A viewset declares by action; an action that it does not name has the policy None.
    """
    for target in (callback, getattr(callback, "cls", None), getattr(callback, "view_class", None)):
        policy = getattr(target, "gatehouse_policy", None)
        if not policy:
            continue
        if isinstance(policy, str):
            return {"*": policy}
        return {method: policy.get(action) for method, action in (getattr(callback, "actions", None) or {}).items()}
    return {"*": None}


def policy_of(callback, method: str) -> str | None:
    """Return the policy under which this method of a resolved view may be called, or None where none is declared.

    A method that a viewset does not have is its own to refuse (405), so it counts as declared for a signed-in person.
    """
    policies = policies_of(callback)
    if "*" in policies:
        return policies["*"]
    method = {"HEAD": "get"}.get(method.upper(), method.lower())
    return policies.get(method, SIGNED_IN if policies else None)
