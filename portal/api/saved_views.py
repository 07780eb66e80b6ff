"""The REST endpoint of saved views."""

from __future__ import annotations

from django.db.models import Exists, OuterRef
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from governance.interfaces import rest
from portal import serializers
from portal.models import SavedView, UsualView
from portal.services import saved_views


@extend_schema(tags=["saved-views"])
class SavedViews(rest.ViewSet):
    """Views of lists: one's own, those of one's teams and those of the organisation."""

    model = SavedView
    queryset = SavedView.objects.none()
    serializer_class = serializers.SavedViewSerializer
    ordering = ("listing", "name", "id")
    filterset_fields = ["listing", "audience"]
    lookup_value_regex = "[0-9]{1,18}"
    etag_fields = ("name", "query", "audience", "team_id")
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "list.save",
        "partial_update": "list.save",
        "destroy": "list.save",
        "start": "list.save",
    }

    def get_queryset(self):
        """Return the views that the caller may open, and whether they start with each."""
        rows = super().get_queryset().select_related("owner", "team")
        if not self.request or not self.request.user.is_authenticated:
            return rows
        return rows.annotate(is_usual=Exists(UsualView.objects.filter(user=self.request.user, view=OuterRef("pk"))))

    def _shown(self, view: SavedView, code: int = status.HTTP_200_OK) -> Response:
        fresh = self.get_queryset().get(pk=view.pk)
        return Response(self.get_serializer(fresh).data, status=code, headers={"ETag": self.etag(fresh)})

    @extend_schema(request=serializers.NewSavedViewSerializer, responses={201: serializers.SavedViewSerializer})
    def create(self, request):
        """Keep a view of a list."""
        view = saved_views.save(actor=request.user, **self.checked(serializers.NewSavedViewSerializer))
        return self._shown(view, status.HTTP_201_CREATED)

    @extend_schema(request=serializers.SavedViewChangeSerializer, responses=serializers.SavedViewSerializer)
    def partial_update(self, request, pk=None):
        """Rename one's own view, change what it shows or who finds it."""
        view = self.get_object()
        rest.check_if_match(request, self.etag(view))
        return self._shown(
            saved_views.change(actor=request.user, view=view, **self.checked(serializers.SavedViewChangeSerializer))
        )

    @extend_schema(responses={204: None})
    def destroy(self, request, pk=None):
        """Delete one's own view."""
        view = self.get_object()
        rest.check_if_match(request, self.etag(view))
        saved_views.delete(actor=request.user, view=view)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=serializers.SavedViewSerializer)
    @action(detail=True, methods=["post"])
    def start(self, request, pk=None):
        """Start with this view when opening its list; where you do already, start with everything again."""
        view = self.get_object()
        chosen = None if view.is_usual else view
        saved_views.make_usual(actor=request.user, listing=view.listing, view=chosen)
        return self._shown(view)


router = SimpleRouter()
router.register("saved-views", SavedViews, basename="saved-view")
