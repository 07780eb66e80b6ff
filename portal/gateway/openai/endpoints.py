"""What every endpoint of /v1 is wrapped in: its methods, its policy, and errors in the client's shape."""

from __future__ import annotations

from collections.abc import Callable

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.views.decorators.csrf import csrf_exempt

from governance.interfaces.declared import declares
from portal.gateway.openai import errors


def endpoint(*methods: str, policy: str = "signed_in"):
    """Return a decorator for an endpoint, asynchronous or not; a session's CSRF check is made by `callers.admit`."""

    def attach(view: Callable):
        run = view if iscoroutinefunction(view) else sync_to_async(view)

        @declares(policy)
        @csrf_exempt
        async def answered(request, **arguments):
            if request.method not in methods:
                allowed = ", ".join(methods)
                message = f"{request.path} answers {allowed} alone."
                return errors.response(405, message, code="method_not_allowed", headers={"Allow": allowed})
            try:
                return await run(request, **arguments)
            except Exception as error:
                return await sync_to_async(errors.answer)(request, error)

        answered.__name__, answered.__doc__, answered.__module__ = view.__name__, view.__doc__, view.__module__
        return answered

    return attach
