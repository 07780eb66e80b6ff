"""Query parameters: how they are declared in the schema, and read."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter


def query(name: str, description: str, **more) -> OpenApiParameter:
    """Return the declaration of a text parameter."""
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.QUERY, description=description, **more)


def one_of(request, name: str, known) -> str:
    """Return the query parameter, which is empty or one of the words known."""
    given = request.query_params.get(name, "")
    if given and given not in set(known):
        raise BadRequest(f"“{given[:60]}” is not known as {name}; choose one of {', '.join(known)}.")
    return given
