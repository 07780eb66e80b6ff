"""The REST endpoints of the training package: base models, recipes, jobs, models, versions, publications."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, status
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from governance.interfaces import rest
from governance.interfaces.bulk import Bulk
from governance.policy import Permission
from governance.services import access
from projects import downloads
from projects.services import repositories
from training import serializers
from training.engine import baselines, measures, recipes
from training.lists import JOBS, MODELS
from training.models import BaseModel, Evaluation, JobEvent, ModelVersion, Publication, RegisteredModel, TrainingJob
from training.services import base_models, handouts, jobs, registry


def _one_of(request, name: str, known: list[str]) -> str:
    """Return the query parameter, which is empty or one of the words known; raises ValidationError."""
    given = request.query_params.get(name, "")
    if given and given not in known:
        raise exceptions.ValidationError({name: [f"Choose one of {', '.join(known)}."]})
    return given


def _number(request, name: str) -> int | None:
    given = request.query_params.get(name, "")
    if not given:
        return None
    if not given.isascii() or not given.isdecimal() or len(given) > 18:
        raise exceptions.ValidationError({name: ["Give a whole number."]})
    return int(given)


def _query(name: str, description: str, kind=OpenApiTypes.STR, **more) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)


class BaseModels(rest.ViewSet):
    """The catalogue of base models."""

    model = BaseModel
    ordering = ("-imported_at", "-id")
    serializer_class = serializers.BaseModelSerializer
    etag_fields = ("state", "decision_reason")
    gatehouse_policy = {
        "list": "base_model.view",
        "retrieve": "base_model.view",
        "sources": "base_model.import",
        "create": "base_model.import",
        "allow": "base_model.allow",
        "disallow": "base_model.allow",
    }

    def get_queryset(self):
        """Return the catalogue."""
        return super().get_queryset().select_related("commit", "imported_by", "allowed_by").defer("shape")

    def filter_queryset(self, queryset):
        """Narrow by state."""
        if self.action != "list":
            return queryset
        state = _one_of(self.request, "state", BaseModel.State.values)
        return queryset.filter(state=state) if state else queryset

    @extend_schema(parameters=[_query("state", "Only in this state.", enum=BaseModel.State.values)])
    def list(self, request, *args, **kwargs):
        """List base models, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(responses=serializers.BaseModelDetailSerializer)
    def retrieve(self, request, *args, **kwargs):
        """Show one base model with its files."""
        return self._shown(self.get_object())

    def _shown(self, model: BaseModel, code: int = 200) -> Response:
        data = serializers.BaseModelDetailSerializer(model, context=self.get_serializer_context()).data
        return Response(data, status=code, headers={"ETag": self.etag(model)})

    @extend_schema(responses=serializers.SourceSerializer(many=True))
    @action(detail=False, pagination_class=None)
    def sources(self, request):
        """List the places on this server from which a base model can be imported."""
        if not access.scope_ids(request.user, Permission.BASE_MODEL_IMPORT):
            access.require(request.user, Permission.BASE_MODEL_IMPORT)
        return Response(serializers.SourceSerializer(base_models.sources(), many=True).data)

    @extend_schema(request=serializers.ImportSerializer, responses={201: serializers.BaseModelDetailSerializer})
    def create(self, request):
        """Import a base model from a listed source; a reviewer then has to allow it."""
        data = self.checked(serializers.ImportSerializer)
        model = base_models.import_source(actor=request.user, **data)
        return self._shown(self.get_queryset().get(pk=model.pk), status.HTTP_201_CREATED)

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.BaseModelDetailSerializer)
    @action(detail=True, methods=["post"])
    def allow(self, request, pk=None):
        """Allow a base model that somebody else imported."""
        model = self.get_object()
        rest.check_if_match(request, self.etag(model))
        base_models.allow(actor=request.user, base_model=model, **self.checked(serializers.ReasonSerializer))
        return self._shown(self.get_object())

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.BaseModelDetailSerializer)
    @action(detail=True, methods=["post"])
    def disallow(self, request, pk=None):
        """Stop new training with a base model."""
        model = self.get_object()
        rest.check_if_match(request, self.etag(model))
        base_models.disallow(actor=request.user, base_model=model, **self.checked(serializers.ReasonSerializer))
        return self._shown(self.get_object())


def _recipe(name: str) -> dict[str, Any]:
    declared = recipes.get(name)
    return {
        "name": declared.name,
        "title": declared.title,
        "task": declared.task,
        "help": declared.help,
        "methods": list(declared.methods),
        "default_preset": declared.default_preset,
        "presets": [
            {
                "name": preset.name,
                "title": preset.title,
                "help": preset.help,
                "values": dict(preset.values),
                "by_method": {method: dict(values) for method, values in preset.by_method.items()},
            }
            for preset in declared.presets.values()
        ],
        "layouts": list(declared.layouts),
        "families": list(declared.families),
        "metrics": [metric.to_json() for metric in measures.get(declared.measure).metrics],
        "hyperparameters": [
            one.to_json() | {"methods": [name for name in declared.methods if name in one.methods]}
            for one in declared.hyperparameters
        ],
        "baselines": [
            {"name": rival.name, "title": rival.title, "help": rival.help}
            for rival in map(baselines.get, baselines.names())
            if rival.measure == declared.measure
        ],
    }


class Recipes(rest.ViewSet):
    """Kinds of training and what can be set, as the engine declares them."""

    model = TrainingJob
    serializer_class = serializers.RecipeSerializer
    # The few recipes that there are come as one list.
    pagination_class = None
    gatehouse_policy = {"list": "signed_in", "retrieve": "signed_in"}
    lookup_field = "name"
    lookup_value_regex = "[a-z0-9_]+"

    @extend_schema(responses=serializers.RecipeSerializer(many=True))
    def list(self, request):
        """List every recipe with its settings, presets and baselines."""
        return Response([_recipe(name) for name in recipes.names()])

    @extend_schema(
        responses=serializers.RecipeSerializer, parameters=[OpenApiParameter("name", str, OpenApiParameter.PATH)]
    )
    def retrieve(self, request, name=None):
        """Show one recipe."""
        if name not in recipes.names():
            raise exceptions.NotFound
        return Response(_recipe(name))


class Jobs(Bulk, rest.ViewSet):
    """Training jobs."""

    listing = JOBS
    model = TrainingJob
    ordering = ("-submitted_at", "-id")
    serializer_class = serializers.JobSerializer
    etag_fields = ("state", "token", "step", "cancel_requested_at")
    gatehouse_policy = {
        "list": "job.view",
        "retrieve": "job.view",
        "create": "job.submit",
        "dry_run": "job.submit",
        "cancel": "job.control",
        "retry": "job.submit",
        "bulk": "job.control",
        "events": "job.view",
        "evaluation": "job.view",
    }

    def get_queryset(self):
        """Return the jobs that the caller may see."""
        rows = super().get_queryset().select_related("team", "submitted_by")
        return rows.defer("spec", "dry_run", "summary") if self.action == "list" else rows

    def filter_queryset(self, queryset):
        """Narrow by state, use case and model name."""
        if self.action != "list":
            return queryset
        state = _one_of(self.request, "state", TrainingJob.State.values)
        use_case = _number(self.request, "use_case")
        name = self.request.query_params.get("model_name", "")
        if state:
            queryset = queryset.filter(state=state)
        if use_case is not None:
            queryset = queryset.filter(use_case_id=use_case)
        return queryset.filter(model_name=name) if name else queryset

    @extend_schema(
        parameters=[
            _query("state", "Only in this state.", enum=TrainingJob.State.values),
            _query("use_case", "Only of this use case.", OpenApiTypes.INT),
            _query("model_name", "Only for this model."),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List jobs, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(responses=serializers.JobDetailSerializer)
    def retrieve(self, request, *args, **kwargs):
        """Show one job with its specification, its place in the queue and its result."""
        return self._shown(self.get_object())

    def _shown(self, job: TrainingJob, code: int = 200) -> Response:
        data = serializers.JobDetailSerializer(job, context=self.get_serializer_context()).data
        return Response(data, status=code, headers={"ETag": self.etag(job)})

    @extend_schema(request=serializers.SubmitSerializer, responses={201: serializers.JobDetailSerializer})
    def create(self, request):
        """Submit a job. What is missing for it comes back with 403, each as a sentence in `missing`."""
        data = self.checked(serializers.SubmitSerializer)
        try:
            job = jobs.submit(actor=request.user, **data)
        except jobs.Invalid as error:
            raise _by_field(error) from error
        return self._shown(self.get_queryset().get(pk=job.pk), status.HTTP_201_CREATED)

    @extend_schema(request=serializers.SubmitSerializer, responses=serializers.PlanSerializer)
    @action(detail=False, methods=["post"], url_path="dry-run")
    def dry_run(self, request):
        """Say what a job would do, what it would cost and what stands in its way; nothing is queued."""
        plan = jobs.plan(actor=request.user, **self.checked(serializers.SubmitSerializer))
        shown = [asdict(one) for one in plan.preview]
        return Response(serializers.PlanSerializer(plan.as_dict() | {"preview": shown}).data)

    @extend_schema(request=None, responses=serializers.JobDetailSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        """Stop a job; one that runs stops after a last checkpoint."""
        job = self.get_object()
        rest.check_if_match(request, self.etag(job))
        jobs.cancel(actor=request.user, job=job)
        return self._shown(self.get_object())

    @extend_schema(request=serializers.RetrySerializer, responses={201: serializers.JobDetailSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request, pk=None):
        """Queue a new job from a finished one, with what is different."""
        data = self.checked(serializers.RetrySerializer)
        try:
            job = jobs.retry(actor=request.user, job=self.get_object(), **data)
        except jobs.Invalid as error:
            raise _by_field(error) from error
        return self._shown(self.get_queryset().get(pk=job.pk), status.HTTP_201_CREATED)

    @extend_schema(
        responses=serializers.EventSerializer(many=True),
        parameters=[_query("after", "Only events with a larger id.", OpenApiTypes.INT)],
    )
    @action(detail=True)
    def events(self, request, pk=None):
        """List a job's events, oldest first; ask again with `after` to follow it."""
        job = self.get_object()
        self.ordering = ("id",)
        rows = JobEvent.objects.filter(job=job, pk__gt=_number(request, "after") or 0)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializers.EventSerializer(page, many=True).data)

    @extend_schema(responses=serializers.EvaluationSerializer)
    @action(detail=True)
    def evaluation(self, request, pk=None):
        """Show the evaluation that the job's result got."""
        found = get_object_or_404(Evaluation, job=self.get_object())
        return Response(serializers.EvaluationSerializer(found).data)


def _by_field(error: jobs.Invalid) -> exceptions.ValidationError:
    return exceptions.ValidationError({name: [sentence] for name, sentence in error.errors.items()})


class Models(Bulk, rest.ViewSet):
    """Registered models, their versions and publications, found by team and name."""

    listing = MODELS
    model = RegisteredModel
    ordering = ("-changed_at", "-id")
    serializer_class = serializers.ModelSerializer
    etag_fields = ("changed_at",)
    gatehouse_policy = {
        "list": "model.view",
        "show": "model.view",
        "versions": "model.view",
        "version": "model.view",
        "card": "model.view",
        "file": "model.view",
        "holders": "model.retire",
        "publish": "model.publish",
        "bulk": "model.retire",
    }

    def get_queryset(self):
        """Return the models that the caller may see."""
        return super().get_queryset().select_related("team")

    def filter_queryset(self, queryset):
        """Narrow by team and use case."""
        if self.action != "list":
            return queryset
        use_case = _number(self.request, "use_case")
        team = self.request.query_params.get("team", "")
        if use_case is not None:
            queryset = queryset.filter(use_case_id=use_case)
        return queryset.filter(team__slug=team) if team else queryset

    @extend_schema(
        parameters=[
            _query("team", "Only of this team (its slug)."),
            _query("use_case", "Only of this use case.", OpenApiTypes.INT),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List models, last changed first."""
        return super().list(request, *args, **kwargs)

    def _model(self, team: str, name: str) -> RegisteredModel:
        return get_object_or_404(self.get_queryset(), team__slug=team, name=name)

    def _versions(self, model: RegisteredModel):
        return (
            ModelVersion.objects.visible_to(self.request.user)
            .filter(model=model)
            .select_related("model__team", "commit", "dataset_version__commit", "base_model__commit", "job__evaluation")
            .defer("job__spec", "job__dry_run", "job__summary", "job__evaluation__report", "base_model__shape")
        )

    def _version(self, team: str, name: str, number: int) -> ModelVersion:
        return get_object_or_404(self._versions(self._model(team, name)), number=number)

    @extend_schema(operation_id="models_show", responses=serializers.ModelDetailSerializer)
    def show(self, request, team, name):
        """Show a model and what is published of it."""
        model = self._model(team, name)
        data = serializers.ModelDetailSerializer(model, context=self.get_serializer_context()).data
        return Response(data, headers={"ETag": self.etag(model)})

    @extend_schema(operation_id="models_versions", responses=serializers.VersionSerializer(many=True))
    def versions(self, request, team, name):
        """List a model's versions, newest first."""
        self.ordering = ("-number",)
        page = self.paginate_queryset(self._versions(self._model(team, name)))
        return self.get_paginated_response(serializers.VersionSerializer(page, many=True).data)

    @extend_schema(operation_id="models_version", responses=serializers.VersionDetailSerializer)
    def version(self, request, team, name, number):
        """Show one version with its files and the digests of all that it came from."""
        return Response(serializers.VersionDetailSerializer(self._version(team, name, number)).data)

    @extend_schema(operation_id="models_card", responses={(200, "text/markdown"): OpenApiTypes.STR})
    def card(self, request, team, name, number):
        """Return the model card as Markdown."""
        text = registry.card(self._version(team, name, number))
        return HttpResponse(text, content_type="text/markdown; charset=utf-8")

    @extend_schema(operation_id="models_holders", responses=serializers.HolderSerializer(many=True))
    def holders(self, request, team, name, number):
        """List who fetched files of a version, at most 200, last first: what they fetched stays on their disks."""
        version = self._version(team, name, number)
        access.require(request.user, Permission.MODEL_RETIRE, version.model)
        return Response(serializers.HolderSerializer(handouts.holders(version), many=True).data)

    @extend_schema(
        operation_id="models_file",
        parameters=[OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="Such as bytes=0-1023")],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
        },
    )
    def file(self, request, team, name, number, file):
        """Download one file of a version; recorded in the ledger."""
        try:
            found = handouts.download(actor=request.user, version=self._version(team, name, number), path=file)
        except repositories.Missing as error:
            raise exceptions.NotFound from error
        return downloads.respond(request._request, found.blob, file.rsplit("/", 1)[-1])

    @extend_schema(
        operation_id="models_publish",
        request=serializers.PublishSerializer,
        responses={201: serializers.AskedSerializer},
    )
    def publish(self, request, team, name, number):
        """Ask that a version is published under an alias; reviewers then decide."""
        version = self._version(team, name, number)
        data = self.checked(serializers.PublishSerializer)
        asked = registry.request_publication(actor=request.user, version=version, **data)
        body = {"request": asked.pk, "digest": asked.digest, "publication": asked.subject}
        return Response(serializers.AskedSerializer(body).data, status=status.HTTP_201_CREATED)


class Publications(rest.ViewSet):
    """What is or was offered to whom."""

    model = Publication
    ordering = ("-requested_at", "-id")
    serializer_class = serializers.PublicationSerializer
    etag_fields = ("state", "ended_at")
    gatehouse_policy = {
        "list": "model.view",
        "retrieve": "model.view",
        "suspend": "model.retire",
        "retire": "model.retire",
    }

    def get_queryset(self):
        """Return the publications that the caller may see."""
        return super().get_queryset().select_related("model__team", "version__model__team")

    def filter_queryset(self, queryset):
        """Narrow by state."""
        if self.action != "list":
            return queryset
        state = _one_of(self.request, "state", Publication.State.values)
        return queryset.filter(state=state) if state else queryset

    @extend_schema(parameters=[_query("state", "Only in this state.", enum=Publication.State.values)])
    def list(self, request, *args, **kwargs):
        """List publications, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.PublicationSerializer)
    @action(detail=True, methods=["post"])
    def suspend(self, request, pk=None):
        """Stop serving at once, because something is wrong."""
        return self._stop(request, registry.suspend)

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.PublicationSerializer)
    @action(detail=True, methods=["post"])
    def retire(self, request, pk=None):
        """End a publication for good."""
        return self._stop(request, registry.retire)

    def _stop(self, request, act) -> Response:
        publication = self.get_object()
        rest.check_if_match(request, self.etag(publication))
        act(actor=request.user, publication=publication, **self.checked(serializers.ReasonSerializer))
        ended = self.get_object()
        return Response(self.get_serializer(ended).data, headers={"ETag": self.etag(ended)})


class Router(SimpleRouter):
    """Adds the addresses of models, which are found by team and name and not by number."""

    def get_urls(self):
        """Return the routes of the view sets and those of models."""
        model = "models/<str:team>/<str:name>/"
        version = f"{model}versions/<int:number>/"
        return [
            *super().get_urls(),
            path("models/", Models.as_view({"get": "list"}), name="model-list"),
            path("models/bulk/", Models.as_view({"post": "bulk"}), name="model-bulk"),
            path(model, Models.as_view({"get": "show"}), name="model-show"),
            path(f"{model}versions/", Models.as_view({"get": "versions"}), name="model-versions"),
            path(version, Models.as_view({"get": "version"}), name="model-version"),
            path(f"{version}card/", Models.as_view({"get": "card"}), name="model-card"),
            path(f"{version}holders/", Models.as_view({"get": "holders"}, pagination_class=None), name="model-holders"),
            path(f"{version}files/<path:file>", Models.as_view({"get": "file"}), name="model-file"),
            path(f"{version}publications/", Models.as_view({"post": "publish"}), name="model-publish"),
        ]


router = Router()
router.register("base-models", BaseModels, basename="base-model")
router.register("recipes", Recipes, basename="recipe")
router.register("jobs", Jobs, basename="job")
router.register("publications", Publications, basename="publication")
