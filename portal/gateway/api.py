"""POST /api/v1/models/{team}/{name}/predict: a published classifier, for programs."""

from __future__ import annotations

import dataclasses

from django.conf import settings
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.interfaces import rest
from portal.gateway import engines, metering, predictions
from training.models import RegisteredModel


class TextsField(serializers.ListField):
    """A list of texts; a single text is taken as a list of one."""

    child = serializers.CharField(allow_blank=True, trim_whitespace=False)

    def to_internal_value(self, data):
        """Return a list of texts."""
        return super().to_internal_value([data] if isinstance(data, str) else data)


class PredictRequest(serializers.Serializer):
    """What to classify."""

    inputs = TextsField(
        max_length=settings.PREDICT_MAX_TEXTS, help_text="One text, or a list of texts, to be classified."
    )
    top_k = serializers.IntegerField(min_value=1, max_value=100, default=3, help_text="How many labels for each text.")
    alias = serializers.CharField(default="champion", max_length=40, help_text="Which published alias answers.")


class Score(serializers.Serializer):
    """One label with its probability."""

    label = serializers.CharField()
    score = serializers.FloatField(min_value=0, max_value=1)


class Usage(serializers.Serializer):
    """What the call used."""

    texts = serializers.IntegerField()
    tokens = serializers.IntegerField()


class GuardrailFinding(serializers.Serializer):
    """What a guardrail of the model found in the texts, and what was done about it."""

    guardrail = serializers.CharField()
    what = serializers.CharField()
    count = serializers.IntegerField()
    action = serializers.ChoiceField(["note", "mask", "refuse"])


class PredictResponse(serializers.Serializer):
    """For each text, the labels by falling probability."""

    model = serializers.CharField()
    version = serializers.IntegerField()
    commit = serializers.CharField()
    alias = serializers.CharField()
    results = serializers.ListField(child=Score(many=True))
    usage = Usage()
    latency_ms = serializers.IntegerField()
    call = serializers.IntegerField(help_text="The id of the call, for feedback on its answer.")
    guardrails = GuardrailFinding(many=True)


class PredictView(APIView):
    """Run the published version of a model."""

    gatehouse_policy = "signed_in"
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="models_predict", request=PredictRequest, responses={200: PredictResponse}, tags=["models"]
    )
    def post(self, request, team, name):
        """Classify texts with the version published under `alias`."""
        model = get_object_or_404(
            RegisteredModel.objects.callable_by(request.user).select_related("team"), team__slug=team, name=name
        )
        asked = PredictRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            answer = predictions.predict(
                actor=request.user,
                model=model,
                texts=asked.validated_data["inputs"],
                top_k=asked.validated_data["top_k"],
                alias=asked.validated_data["alias"],
                client=request.headers.get("User-Agent", ""),
            )
        except metering.Exceeded as error:
            response = rest.problem(
                request,
                status_code=status.HTTP_429_TOO_MANY_REQUESTS,
                title="The quota is used up",
                detail=error.reason,
                code=error.code,
            )
            for name, value in error.headers.items():
                response[name] = value
            return response
        except engines.Unavailable as error:
            response = rest.problem(
                request,
                status_code=status.HTTP_503_SERVICE_UNAVAILABLE,
                title="The engine does not answer",
                detail=str(error),
                code="engine_unavailable",
            )
            response["Retry-After"] = "5"
            return response
        body = {
            "model": str(model),
            "version": answer.version.number,
            "commit": answer.version.commit.oid,
            "alias": answer.publication.alias,
            "results": answer.results,
            "usage": {"texts": len(answer.results), "tokens": answer.tokens},
            "latency_ms": answer.latency_ms,
            "call": answer.call.usage.pk,
            "guardrails": [dataclasses.asdict(one) for one in answer.verdict.findings],
        }
        return Response(body, headers=answer.call.headers() | answer.verdict.headers())


urlpatterns = [path("models/<str:team>/<str:name>/predict", PredictView.as_view(), name="predict")]
