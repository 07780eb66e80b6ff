"""The REST endpoints of the projects package: each loads what the caller may see and calls a service."""

from __future__ import annotations

import django_filters
from django.conf import settings
from django.db import transaction
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import re_path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import exceptions, status
from rest_framework.decorators import action
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from governance.interfaces import rest
from governance.interfaces.bulk import Bulk
from projects import downloads, serializers
from projects.lists import DATASETS, USE_CASES
from projects.models import Dataset, DatasetVersion, StrategicGoal, Team, UseCase
from projects.models.use_cases import Stage
from projects.services import datasets, goals, repositories, teams, use_cases

IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The ETag of what you looked at; 412 where it has changed."
)
PROBLEM = OpenApiResponse(OpenApiTypes.OBJECT, "Problem details (RFC 9457)")


def changing(request_shape, response_shape, **more):
    """Describe an act: what it takes, what it gives, and that it may be refused."""
    return extend_schema(
        request=request_shape,
        responses={200: response_shape, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 412: PROBLEM},
        parameters=[IF_MATCH],
        **more,
    )


def creating(request_shape, response_shape):
    """Describe a create: what it takes, what it gives, and that it may be refused."""
    return extend_schema(request=request_shape, responses={201: response_shape, 400: PROBLEM, 403: PROBLEM})


class _Endpoint(rest.ViewSet):
    """An endpoint whose objects are changed with an optional If-Match, compared while the row is held."""

    http_method_names = ["get", "post", "patch", "head", "options"]

    def held(self):
        """Return the object, locked; raises PreconditionFailed. Call it inside a transaction."""
        found = self.get_object()
        self.model.objects.select_for_update().get(pk=found.pk)
        instance = self.get_queryset().get(pk=found.pk)
        rest.check_if_match(self.request, self.etag(instance))
        return instance

    def shown(self, instance, *, code: int = status.HTTP_200_OK, location: str | None = None) -> Response:
        """Return the object as an answer, with its ETag, read afresh."""
        fresh = self.get_queryset().get(pk=instance.pk)
        headers = {"ETag": self.etag(fresh)} | ({"Location": location} if location else {})
        return Response(self.reading(fresh).data, status=code, headers=headers)

    def reading(self, instance):
        """Return the serializer that shows one object."""
        return self.serializer_class(instance, context=self.get_serializer_context())


# Teams and goals


class TeamFilter(django_filters.FilterSet):
    """How teams may be filtered."""

    q = django_filters.CharFilter(field_name="name", lookup_expr="icontains", label="Part of the name")

    class Meta:
        model = Team
        fields = ["slug"]


@extend_schema(tags=["teams"])
class TeamViewSet(_Endpoint):
    """Teams: who works together."""

    model = Team
    queryset = Team.objects.none()
    serializer_class = serializers.TeamSerializer
    filterset_class = TeamFilter
    lookup_field = "slug"
    lookup_value_regex = "[a-z0-9._-]{1,64}"
    etag_fields = ("name", "description")
    gatehouse_policy = {
        "list": "team.view",
        "retrieve": "team.view",
        "create": "team.create",
        "partial_update": "team.edit",
    }

    @creating(serializers.TeamCreate, serializers.TeamSerializer)
    def create(self, request, *args, **kwargs):
        """Create a team."""
        team = teams.create(actor=request.user, **self.checked(serializers.TeamCreate))
        return self.shown(team, code=201, location=f"{request.path}{team.slug}/")

    @changing(serializers.TeamChange, serializers.TeamSerializer)
    def partial_update(self, request, *args, **kwargs):
        """Change name or description."""
        values = self.checked(serializers.TeamChange)
        with transaction.atomic():
            team = teams.change(actor=request.user, team=self.held(), **values)
        return self.shown(team)


@extend_schema(tags=["goals"])
class GoalViewSet(_Endpoint):
    """Strategic goals: what the organisation wants."""

    model = StrategicGoal
    queryset = StrategicGoal.objects.none()
    serializer_class = serializers.GoalSerializer
    filterset_fields = ["is_current"]
    lookup_value_regex = "[0-9]{1,18}"
    etag_fields = ("title", "description", "is_current")
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "goal.manage",
        "partial_update": "goal.manage",
    }

    @creating(serializers.GoalCreate, serializers.GoalSerializer)
    def create(self, request, *args, **kwargs):
        """Name a goal."""
        goal = goals.create(actor=request.user, **self.checked(serializers.GoalCreate))
        return self.shown(goal, code=201, location=f"{request.path}{goal.pk}/")

    @changing(serializers.GoalChange, serializers.GoalSerializer)
    def partial_update(self, request, *args, **kwargs):
        """Change a goal, or mark it as no longer current."""
        values = self.checked(serializers.GoalChange)
        with transaction.atomic():
            goal = goals.change(actor=request.user, goal=self.held(), **values)
        return self.shown(goal)


# Use cases


class UseCaseFilter(django_filters.FilterSet):
    """How use cases may be filtered."""

    team = django_filters.CharFilter(field_name="team__slug", label="A team's slug")
    stage = django_filters.MultipleChoiceFilter(choices=Stage.choices)
    owner = django_filters.NumberFilter(field_name="owner_id", label="The owner's id", max_value=2**53)
    goal = django_filters.NumberFilter(field_name="goals", label="A goal's id", max_value=2**53)
    q = django_filters.CharFilter(
        field_name="words", lookup_expr="begun", label="Beginnings of words of the title or the problem"
    )

    class Meta:
        model = UseCase
        fields = []


@extend_schema(tags=["use-cases"])
@extend_schema_view(list=extend_schema(responses=serializers.UseCaseSummary(many=True)))
class UseCaseViewSet(Bulk, _Endpoint):
    """Use cases: proposed, described, submitted for review, moved along their life."""

    listing = USE_CASES
    model = UseCase
    queryset = UseCase.objects.none()
    serializer_class = serializers.UseCaseSerializer
    filterset_class = UseCaseFilter
    lookup_value_regex = "[0-9]{1,18}"
    ordering = ("-changed_at", "-id")
    etag_fields = ("version", "stage", "changed_at")
    gatehouse_policy = {
        "list": "use_case.view",
        "retrieve": "use_case.view",
        "moves": "use_case.view",
        "pitfalls": "use_case.view",
        "create": "use_case.propose",
        "partial_update": "use_case.propose",
        "submit": "use_case.propose",
        "move": "use_case.move",
        "bulk": "use_case.move",
    }

    def get_queryset(self):
        """Return the use cases that the caller may see, without long texts in a list."""
        rows = super().get_queryset().select_related("team", "owner", "proposer")
        if self.action == "list":
            return rows.defer(*UseCase.MATERIAL[1:], "risk_tier_reason")
        return rows.select_related("risk_tier_set_by").prefetch_related("goals", "objectives", "stakeholders")

    def get_serializer_class(self):
        """Return the short shape for a list."""
        return serializers.UseCaseSummary if self.action == "list" else self.serializer_class

    @creating(serializers.UseCasePropose, serializers.UseCaseSerializer)
    def create(self, request, *args, **kwargs):
        """Propose a use case to a team."""
        use_case = use_cases.propose(actor=request.user, **self.checked(serializers.UseCasePropose))
        return self.shown(use_case, code=201, location=f"{request.path}{use_case.pk}/")

    @changing(serializers.UseCaseChange, serializers.UseCaseSerializer)
    def partial_update(self, request, *args, **kwargs):
        """Change the statement, the owner, objectives, stakeholders or goals."""
        values = self.checked(serializers.UseCaseChange)
        for part in ("objectives", "stakeholders"):
            if part in values:
                values[part] = [dict(item) for item in values[part]]
        with transaction.atomic():
            use_case = use_cases.change(actor=request.user, use_case=self.held(), **values)
        return self.shown(use_case)

    @changing(serializers.Note, serializers.UseCaseSerializer)
    @action(detail=True, methods=["post"])
    def submit(self, request, *args, **kwargs):
        """Put a draft before its gate: ask whether it may be developed."""
        note = self.checked(serializers.Note)["note"]
        with transaction.atomic():
            use_case = use_cases.submit(actor=request.user, use_case=self.held(), note=note)
        return self.shown(use_case)

    @changing(serializers.UseCaseMove, serializers.UseCaseSerializer)
    @action(detail=True, methods=["post"])
    def move(self, request, *args, **kwargs):
        """Make a transition by hand."""
        values = self.checked(serializers.UseCaseMove)
        with transaction.atomic():
            use_case = use_cases.move(actor=request.user, use_case=self.held(), **values)
        return self.shown(use_case)

    @extend_schema(responses=serializers.MoveSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def moves(self, request, *args, **kwargs):
        """List the transitions from the present stage, each with why you cannot make it where you cannot."""
        found = use_cases.moves(actor=request.user, use_case=self.get_object())
        return Response(serializers.MoveSerializer(found, many=True).data)

    @extend_schema(responses=serializers.PitfallSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def pitfalls(self, request, *args, **kwargs):
        """List the known pitfalls seen in the use case."""
        found = use_cases.pitfalls(actor=request.user, use_case=self.get_object())
        return Response(serializers.PitfallSerializer(found, many=True).data)


# Datasets


class DatasetFilter(django_filters.FilterSet):
    """How datasets may be filtered."""

    team = django_filters.CharFilter(field_name="team__slug", label="A team's slug")
    q = django_filters.CharFilter(
        field_name="words", lookup_expr="begun", label="Beginnings of words of title, name or description"
    )

    class Meta:
        model = Dataset
        fields = ["name", "classification", "lawful_basis"]


@extend_schema(tags=["datasets"])
class DatasetViewSet(Bulk, _Endpoint):
    """Datasets: described here, filled by their versions."""

    listing = DATASETS
    model = Dataset
    queryset = Dataset.objects.none()
    serializer_class = serializers.DatasetSerializer
    filterset_class = DatasetFilter
    lookup_value_regex = "[0-9]{1,18}"
    ordering = ("-changed_at", "-id")
    etag_fields = ("changed_at",)
    gatehouse_policy = {
        "list": "dataset.view",
        "retrieve": "dataset.view",
        "create": "dataset.register",
        "partial_update": "dataset.edit",
        "bulk": "dataset.withdraw",
    }

    def get_queryset(self):
        """Return the datasets that the caller may see."""
        return super().get_queryset().select_related("team", "steward")

    @creating(serializers.DatasetRegister, serializers.DatasetSerializer)
    def create(self, request, *args, **kwargs):
        """Register a dataset, empty as yet."""
        dataset = datasets.register(actor=request.user, **self.checked(serializers.DatasetRegister))
        return self.shown(dataset, code=201, location=f"{request.path}{dataset.pk}/")

    @changing(serializers.DatasetChange, serializers.DatasetSerializer)
    def partial_update(self, request, *args, **kwargs):
        """Change what is said about the dataset; clearances given on other terms lapse."""
        values = self.checked(serializers.DatasetChange)
        with transaction.atomic():
            dataset = datasets.change(actor=request.user, dataset=self.held(), **values)
        return self.shown(dataset)


class TooLarge(exceptions.APIException):
    """The body is larger than an upload may be."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = "The upload is too large."


_DATASET = OpenApiParameter("dataset", int, OpenApiParameter.PATH, description="The dataset's id")
_NUMBER = OpenApiParameter("number", int, OpenApiParameter.PATH, description="The version's number")
FORM_OVERHEAD = 1024 * 1024


@extend_schema(tags=["datasets"], parameters=[_DATASET])
@extend_schema_view(
    list=extend_schema(responses=serializers.DatasetVersionSummary(many=True)),
    retrieve=extend_schema(parameters=[_NUMBER]),
)
class VersionViewSet(_Endpoint):
    """Versions of a dataset: uploaded, looked at, imported, cleared, withdrawn."""

    model = DatasetVersion
    queryset = DatasetVersion.objects.none()
    serializer_class = serializers.DatasetVersionSerializer
    filterset_fields = ["state"]
    lookup_field = "number"
    lookup_value_regex = "[0-9]{1,9}"
    ordering = ("-number",)
    etag_fields = ("state", "token", "attempts", "progress_rows", "mapped_at")
    parser_classes = [JSONParser, MultiPartParser]
    gatehouse_policy = {
        "list": "dataset.view",
        "retrieve": "dataset.view",
        "create": "dataset.upload",
        "preview": "dataset.upload",
        "map_columns": "dataset.upload",
        "rows": "dataset.view",
        "files": "dataset.view",
        "download": "dataset.download",
        "clearances": "dataset.view",
        "request_clearance": "dataset.clear",
        "withdraw": "dataset.withdraw",
    }

    def initial(self, request, *args, **kwargs):
        """Refuse a body that is too large before a byte of it is kept."""
        limit = settings.MAX_UPLOAD_BYTES
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > limit + FORM_OVERHEAD:
            raise TooLarge(
                f"The file is larger than {limit // (1024 * 1024):,} MB. Split it, or ask for a higher limit."
            )
        super().initial(request, *args, **kwargs)

    def dataset(self) -> Dataset:
        """Return the dataset in the address, if the caller may see it."""
        rows = Dataset.objects.visible_to(self.request.user).select_related("team")
        return get_object_or_404(rows, pk=self.kwargs["dataset"])

    def get_queryset(self):
        """Return the versions of the dataset in the address, without their profiles in a list."""
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        rows = rows.filter(dataset_id=self.kwargs["dataset"]).select_related("dataset__team", "commit", "created_by")
        if self.action == "list":
            # A dataset that one may not see has no empty list: it is not there.
            self.dataset()
            return rows.defer("source", "profile", "changes", "errors", "labels")
        return rows

    def get_serializer_class(self):
        """Return the short shape for a list."""
        return serializers.DatasetVersionSummary if self.action == "list" else self.serializer_class

    @extend_schema(
        request={"multipart/form-data": serializers.Upload},
        responses={201: serializers.DatasetVersionSerializer, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 413: PROBLEM},
    )
    def create(self, request, *args, **kwargs):
        """Upload a file as a new version; it is imported in the background once its columns are named."""
        dataset = self.dataset()
        values = self.checked(serializers.Upload)
        file = values.pop("file")
        version = datasets.receive(actor=request.user, dataset=dataset, file=file, options=_options(values))
        return self.shown(version, code=201, location=f"{request.path}{version.number}/")

    @extend_schema(responses=serializers.LookedSerializer, filters=False, parameters=[_NUMBER])
    @action(detail=True)
    def preview(self, request, *args, **kwargs):
        """Look at the columns and first rows of an upload that waits for its columns to be named."""
        looked = datasets.preview(actor=request.user, version=self.get_object())
        return Response(serializers.LookedSerializer(looked).data)

    @changing(serializers.Mapping, serializers.DatasetVersionSerializer)
    @action(detail=True, methods=["post"], url_path="map")
    def map_columns(self, request, *args, **kwargs):
        """Name the columns of an upload and start its import."""
        values = self.checked(serializers.Mapping)
        with transaction.atomic():
            version = datasets.map_columns(actor=request.user, version=self.held(), **_options(values))
        return self.shown(version)

    @extend_schema(
        parameters=[_NUMBER, serializers.ExampleRows],
        responses={200: OpenApiResponse({"type": "array", "items": {"type": "object"}}), 404: PROBLEM},
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def rows(self, request, *args, **kwargs):
        """Show some rows of a split."""
        version = self.get_object()
        asked = serializers.ExampleRows(data=request.query_params)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        try:
            found = datasets.example_rows(
                version=version, split=values["split"], offset=values["offset"], count=values["limit"]
            )
        except repositories.Missing as error:
            raise Http404 from error
        return Response(found)

    @extend_schema(responses=serializers.DatasetFileSerializer(many=True), filters=False, parameters=[_NUMBER])
    @action(detail=True, pagination_class=None)
    def files(self, request, *args, **kwargs):
        """List the files of the version's commit."""
        version = self.get_object()
        found = version.commit.files.all() if version.commit else []
        return Response(serializers.DatasetFileSerializer(found, many=True).data)

    @extend_schema(
        parameters=[
            _NUMBER,
            OpenApiParameter("path", str, OpenApiParameter.PATH, description="The file's path in the commit"),
            OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range, such as bytes=0-1023"),
        ],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            404: PROBLEM,
        },
        filters=False,
    )
    def download(self, request, *args, **kwargs):
        """Download one file of the version, as an attachment; the read is recorded."""
        version = self.get_object()
        path = self.kwargs["path"]
        try:
            file = datasets.download(actor=request.user, version=version, path=path)
        except repositories.Missing as error:
            raise Http404 from error
        name = f"{version.dataset.name}-v{version.number}-{path.rsplit('/', 1)[-1]}"
        return downloads.respond(request._request, file.blob, name)

    @extend_schema(responses=serializers.ClearanceSerializer(many=True), filters=False, parameters=[_NUMBER])
    @action(detail=True, pagination_class=None)
    def clearances(self, request, *args, **kwargs):
        """List for which use cases the version is cleared, and where each stands."""
        visible = UseCase.objects.visible_to(request.user)
        found = self.get_object().clearances.filter(use_case__in=visible).select_related("use_case", "requested_by")
        return Response(serializers.ClearanceSerializer(found, many=True).data)

    @extend_schema(
        request=serializers.ClearanceRequest,
        responses={201: serializers.ClearanceAskedSerializer, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM},
        parameters=[_NUMBER],
    )
    @clearances.mapping.post
    def request_clearance(self, request, *args, **kwargs):
        """Ask that the version may be used for a use case and purpose."""
        version = self.get_object()
        values = self.checked(serializers.ClearanceRequest)
        asked = datasets.request_clearance(actor=request.user, version=version, **values)
        return Response(serializers.ClearanceAskedSerializer(asked).data, status=status.HTTP_201_CREATED)

    @changing(serializers.Withdrawal, serializers.DatasetVersionSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request, *args, **kwargs):
        """Take the version out of use at once; its clearances lapse."""
        reason = self.checked(serializers.Withdrawal)["reason"]
        with transaction.atomic():
            version = datasets.withdraw(actor=request.user, version=self.held(), reason=reason)
        return self.shown(version)


def _options(values) -> dict:
    given = dict(values)
    if "fractions" in given:
        given["fractions"] = dict(given["fractions"])
    return given


class Router(SimpleRouter):
    """The package's addresses; a file's own ends as its name does, without a slash."""

    def get_urls(self):
        """Return the addresses of the endpoints, and of the files of a version."""
        version = r"^datasets/(?P<dataset>[0-9]{1,18})/versions/(?P<number>[0-9]{1,9})"
        download = VersionViewSet.as_view({"get": "download"}, detail=True, basename="dataset-version")
        return [*super().get_urls(), re_path(version + r"/files/(?P<path>.{1,400})$", download, name="dataset-file")]


router = Router()
router.register("teams", TeamViewSet, basename="team")
router.register("goals", GoalViewSet, basename="goal")
router.register("use-cases", UseCaseViewSet, basename="use-case")
router.register("datasets", DatasetViewSet, basename="dataset")
router.register(r"datasets/(?P<dataset>[0-9]{1,18})/versions", VersionViewSet, basename="dataset-version")
