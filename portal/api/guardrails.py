"""The REST endpoint of a model's guardrails."""

from __future__ import annotations

from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.interfaces import rest
from portal.gateway import guardrails
from portal.models import GuardrailPolicy
from portal.services import guardrails as policies
from training.models import RegisteredModel


class GuardrailAbout(serializers.Serializer):
    """A guardrail that there is."""

    name = serializers.CharField()
    label = serializers.CharField()
    note = serializers.CharField()
    stages = serializers.ListField(child=serializers.CharField())
    actions = serializers.ListField(child=serializers.CharField())
    options = serializers.ListField(child=serializers.CharField())


class GuardrailsShown(serializers.Serializer):
    """The guardrails of a model, and which there are."""

    rules = serializers.DictField(child=serializers.DictField())
    keep_days = serializers.IntegerField()
    set_by = serializers.CharField(allow_null=True)
    set_at = serializers.DateTimeField(allow_null=True)
    known = GuardrailAbout(many=True)


class GuardrailsSet(serializers.Serializer):
    """What the guardrails of a model are to be: all of them, since what is left out is off."""

    rules = serializers.DictField(
        child=serializers.DictField(), help_text='Such as {"personal_data": {"input": "mask", "output": "off"}}.'
    )
    keep_days = serializers.IntegerField(min_value=0, max_value=policies.LONGEST_KEPT, default=0)


class GuardrailsView(APIView):
    """Read or set the guardrails of a model."""

    gatehouse_policy = "signed_in"
    permission_classes = [IsAuthenticated]

    def _model(self, request, team: str, name: str) -> RegisteredModel:
        rows = RegisteredModel.objects.visible_to(request.user).select_related("team")
        return get_object_or_404(rows, team__slug=team, name=name)

    @staticmethod
    def _etag(policy: GuardrailPolicy | None) -> str:
        return rest.etag_of("guardrails", policy.rules, policy.keep_days) if policy else rest.etag_of("guardrails")

    def _shown(self, policy: GuardrailPolicy | None) -> Response:
        known = [
            {
                "name": one,
                "label": guardrails.get(one).LABEL,
                "note": guardrails.get(one).NOTE,
                "stages": guardrails.get(one).STAGES,
                "actions": guardrails.get(one).ACTIONS,
                "options": list(guardrails.get(one).OPTIONS),
            }
            for one in guardrails.names()
        ]
        body = {
            "rules": policy.rules if policy else {},
            "keep_days": policy.keep_days if policy else 0,
            "set_by": policy.set_by.email if policy else None,
            "set_at": policy.set_at if policy else None,
            "known": known,
        }
        return Response(GuardrailsShown(body).data, headers={"ETag": self._etag(policy)})

    @extend_schema(operation_id="models_guardrails_retrieve", responses=GuardrailsShown, tags=["models"])
    def get(self, request, team, name):
        """Return the guardrails of a model."""
        model = self._model(request, team, name)
        return self._shown(GuardrailPolicy.objects.filter(model=model).select_related("set_by").first())

    @extend_schema(
        operation_id="models_guardrails_update", request=GuardrailsSet, responses=GuardrailsShown, tags=["models"]
    )
    def put(self, request, team, name):
        """Set the guardrails of a model; its team may make it stricter, a reviewer may do both."""
        model = self._model(request, team, name)
        held = GuardrailPolicy.objects.filter(model=model).first()
        rest.check_if_match(request, self._etag(held))
        asked = GuardrailsSet(data=request.data)
        asked.is_valid(raise_exception=True)
        return self._shown(policies.set_policy(actor=request.user, model=model, **asked.validated_data))


urlpatterns = [path("models/<str:team>/<str:name>/guardrails", GuardrailsView.as_view(), name="guardrails")]
