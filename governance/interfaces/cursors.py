"""The REST API's pages: keyset cursors, and a count only when it is asked for."""

from __future__ import annotations

from rest_framework import exceptions
from rest_framework.pagination import BasePagination
from rest_framework.response import Response

from governance.interfaces import paging

COUNT_CAP = 10_001
MAX_LIMIT = 200


def _sorts(view) -> dict[str, tuple[str, ...]]:
    """Return the orders that an endpoint's list offers, by word; the same as on its page."""
    listing = getattr(view, "listing", None)
    return listing.sorts() if listing is not None and getattr(view, "action", "") == "list" else {}


class Cursor(BasePagination):
    """Keyset pages: `{"next", "previous", "results"}`, and `"count"` (capped at 10,001) only with `?count=true`."""

    def paginate_queryset(self, queryset, request, view=None):
        """Return the rows of the page asked for."""
        order = self._order(request, view)
        try:
            size = int(request.query_params.get("limit", 50))
        except ValueError:
            raise exceptions.ValidationError({"limit": ["Give a whole number."]}) from None
        if not 1 <= size <= MAX_LIMIT:
            raise exceptions.ValidationError({"limit": [f"Choose from 1 to {MAX_LIMIT}."]})
        self.request = request
        self.page = paging.slice_at(queryset, request.query_params.get("cursor"), order, size)
        self.count = None
        if request.query_params.get("count", "").lower() in {"1", "true"}:
            self.count = queryset.order_by()[:COUNT_CAP].count()
        return self.page.items

    @staticmethod
    def _order(request, view) -> tuple[str, ...]:
        usual = tuple(getattr(view, "ordering", ("-id",)))
        sorts, word = _sorts(view), request.query_params.get("sort", "")
        if not word or not sorts:
            return usual
        if word not in sorts:
            raise exceptions.ValidationError({"sort": [f"Choose one of {', '.join(sorts)}."]})
        return sorts[word]

    def _link(self, cursor):
        if cursor is None:
            return None
        query = self.request.query_params.copy()
        query["cursor"] = cursor
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")

    def get_paginated_response(self, data):
        """Return the page as an answer."""
        body = {"next": self._link(self.page.next), "previous": self._link(self.page.previous), "results": data}
        if self.count is not None:
            body["count"] = self.count
        return Response(body)

    def get_paginated_response_schema(self, schema):
        """Describe the page for the OpenAPI document."""
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {"type": ["string", "null"], "format": "uri"},
                "previous": {"type": ["string", "null"], "format": "uri"},
                "count": {"type": "integer", "maximum": COUNT_CAP},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view):
        """Describe the query parameters for the OpenAPI document."""
        sorts = _sorts(view)
        sort = {"name": "sort", "in": "query", "schema": {"type": "string", "enum": list(sorts)}}
        return [
            *([sort | {"description": "Ascending by the column, or with a minus descending."}] if sorts else []),
            {"name": "cursor", "in": "query", "schema": {"type": "string"}, "description": "From `next`/`previous`."},
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50},
            },
            {
                "name": "count",
                "in": "query",
                "schema": {"type": "boolean"},
                "description": f"Also count, up to {COUNT_CAP}.",
            },
        ]
