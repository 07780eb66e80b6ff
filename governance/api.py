"""The REST endpoints of the governance package: approvals, the ledger, people, roles, shares, tokens, and oneself."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.utils.dateparse import parse_datetime
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from governance import serializers
from governance.actions import Action
from governance.interfaces import rest
from governance.models import ApiToken, ApprovalRequest, Checkpoint, LedgerEntry, RoleAssignment, Share, User
from governance.policy import Gate, Permission, Role
from governance.services import access, approvals, people, roles, tokens


def _parameter(name: str, description: str, **more) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.QUERY, description=description, **more)


def _one_of(request, name: str, known) -> str:
    """Return the query parameter, which is empty or one of the words known."""
    given = request.query_params.get(name, "")
    if given and given not in set(known):
        raise BadRequest(f"“{given[:60]}” is not known as {name}; choose one of {', '.join(known)}.")
    return given


IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    description="The ETag of the request that you looked at: its digest in quotes. 428 without it, 412 for another.",
)


class Approvals(rest.ViewSet):
    """Requests that a gate opens, what they put before the reviewers, and what was decided."""

    model = ApprovalRequest
    ordering = ("-requested_at", "-id")
    serializer_class = serializers.ApprovalSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "decide": "review.decide",
        "comments": "signed_in",
        "withdraw": "signed_in",
    }

    def get_queryset(self):
        """Return the requests that the caller may see."""
        rows = super().get_queryset().select_related("requester", "content_type")
        return rows.defer("snapshot") if self.action == "list" else rows.prefetch_related("decisions__approver")

    def etag(self, instance) -> str:
        """Return the digest that a decision binds to, as an ETag."""
        return f'"{instance.digest}"'

    @extend_schema(
        parameters=[
            _parameter("state", "Only in this state.", enum=ApprovalRequest.State.values),
            _parameter("gate", "Only at this gate.", enum=[gate.value for gate in Gate]),
            _parameter("subject", "Only about this subject, such as projects.usecase:12."),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List requests, newest first."""
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by state, gate and subject."""
        if self.action != "list":
            return queryset
        state = _one_of(self.request, "state", ApprovalRequest.State.values)
        gate = _one_of(self.request, "gate", [gate.value for gate in Gate])
        kind, _colon, number = self.request.query_params.get("subject", "").partition(":")
        if state:
            queryset = queryset.filter(state=state)
        if gate:
            queryset = queryset.filter(gate=gate)
        if kind:
            label, _dot, model = kind.lower().partition(".")
            if not number.isdecimal() or len(number) > 18:
                raise BadRequest("Write the subject as its type, a colon and its number, such as projects.usecase:12.")
            queryset = queryset.filter(content_type__app_label=label, content_type__model=model, object_id=int(number))
        return queryset

    @extend_schema(responses=serializers.ApprovalDetailSerializer)
    def retrieve(self, request, *args, **kwargs):
        """Show one request with its material, what changed, the checklist and the decisions; the ETag is its digest."""
        asked = self.get_object()
        data = serializers.ApprovalDetailSerializer(asked, context=self.get_serializer_context()).data
        return Response(data, headers={"ETag": self.etag(asked)})

    @extend_schema(
        request=serializers.DecideSerializer, responses=serializers.ApprovalDetailSerializer, parameters=[IF_MATCH]
    )
    @action(detail=True, methods=["post"])
    def decide(self, request, pk=None):
        """Approve, ask for changes or reject exactly what has the digest in If-Match."""
        asked = self.get_object()
        rest.require_if_match(request, self.etag(asked))
        data = self.checked(serializers.DecideSerializer)
        approvals.decide(actor=request.user, request=asked, digest=asked.digest, **data)
        return self._shown(pk)

    @extend_schema(methods=["GET"], responses=serializers.CommentSerializer(many=True))
    @extend_schema(
        methods=["POST"], request=serializers.CommentSerializer, responses={201: serializers.CommentSerializer}
    )
    @action(detail=True, methods=["get", "post"], pagination_class=None)
    def comments(self, request, pk=None):
        """Read what was said, oldest first, or add to it; `part` names a part of the material or is left out."""
        asked = self.get_object()
        context = self.get_serializer_context()
        if request.method == "GET":
            said = asked.comments.select_related("author")[:500]
            return Response(serializers.CommentSerializer(said, many=True, context=context).data)
        data = self.checked(serializers.CommentSerializer)
        made = approvals.comment(actor=request.user, request=asked, **data)
        return Response(serializers.CommentSerializer(made, context=context).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=serializers.ApprovalDetailSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request, pk=None):
        """Take one's own request back."""
        approvals.withdraw(actor=request.user, request=self.get_object())
        return self._shown(pk)

    def _shown(self, pk) -> Response:
        asked = self.get_queryset().get(pk=pk)
        data = serializers.ApprovalDetailSerializer(asked, context=self.get_serializer_context()).data
        return Response(data, headers={"ETag": self.etag(asked)})


class Ledger(rest.ViewSet):
    """What was done and refused, by whom, to what: everything for auditors, else one's own acts and one's teams'."""

    model = LedgerEntry
    ordering = ("-at", "-id")
    serializer_class = serializers.EntrySerializer
    gatehouse_policy = {"list": "signed_in", "retrieve": "signed_in", "checkpoint": "signed_in"}

    def get_queryset(self):
        """Return the entries that the caller may see."""
        rows = super().get_queryset().select_related("sealed")
        return rows.defer("canonical", "leaf_hash") if self.action == "list" else rows.prefetch_related("texts")

    @extend_schema(
        parameters=[
            _parameter("action", "Only this action.", enum=[one.value for one in Action]),
            _parameter("actor", "Only by the person with this id."),
            _parameter("subject", "Only about this, such as projects.usecase:12, or projects.usecase for all of them."),
            _parameter("since", "From this time on (ISO 8601, with a zone)."),
            _parameter("until", "Before this time (ISO 8601, with a zone)."),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List entries, newest first; any depth costs the same."""
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by action, actor, subject and time."""
        if self.action != "list":
            return queryset
        given = self.request.query_params
        word = _one_of(self.request, "action", [one.value for one in Action])
        if word:
            queryset = queryset.filter(action=word)
        if given.get("actor"):
            if not given["actor"].isdecimal() or len(given["actor"]) > 18:
                raise BadRequest("The actor is the id of a person, a whole number.")
            queryset = queryset.filter(actor_id=int(given["actor"]))
        if given.get("subject"):
            kind, _colon, number = given["subject"][:200].partition(":")
            queryset = queryset.filter(subject_type=kind.lower(), **({"subject_id": number} if number else {}))
        for name, lookup in (("since", "at__gte"), ("until", "at__lt")):
            if given.get(name):
                queryset = queryset.filter(**{lookup: _moment(name, given[name])})
        return queryset

    @extend_schema(responses=serializers.EntryDetailSerializer)
    def retrieve(self, request, *args, **kwargs):
        """Show one entry with its exact bytes in base64."""
        found = self.get_object()
        return Response(serializers.EntryDetailSerializer(found, context=self.get_serializer_context()).data)

    @extend_schema(responses={200: serializers.CheckpointSerializer, 404: OpenApiTypes.OBJECT})
    @action(detail=False, methods=["get"], pagination_class=None)
    def checkpoint(self, request):
        """Show the newest signed checkpoint: keep it elsewhere, and nothing older can change unseen."""
        newest = Checkpoint.objects.first()
        if newest is None:
            raise NotFound("Nothing has been sealed yet; the sequencer does that within a second of the first entry.")
        return Response(serializers.CheckpointSerializer(newest).data)


def _moment(name: str, text: str):
    try:
        moment = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest(f"“{name}” is not a time with a zone; write it as 2026-01-31T08:00:00Z.")
    return moment


class ShownOnce(rest.ViewSet):
    """An endpoint whose answer to a create holds a secret: a repeated call with its Idempotency-Key does not get it.

    What is kept for the repetition would otherwise store the secret itself.
    """

    secret = ""

    def finalize_response(self, request, response, *args, **kwargs):
        """Keep the answer without the secret, and give it once with it."""
        data = getattr(response, "data", None)
        held = data.pop(self.secret) if isinstance(data, dict) and data.get(self.secret) else None
        response = super().finalize_response(request, response, *args, **kwargs)
        if held is not None:
            response.data[self.secret] = held
        return response


class People(ShownOnce):
    """People and their accounts."""

    secret = "first_password"  # noqa: S105 - the name of a field

    model = User
    ordering = ("email",)
    serializer_class = serializers.PersonSerializer
    gatehouse_policy = {
        "list": "person.view",
        "retrieve": "person.view",
        "create": "person.manage",
        "deactivate": "person.manage",
        "reactivate": "person.manage",
    }

    @extend_schema(parameters=[_parameter("email", "Only the person with this e-mail address.")])
    def list(self, request, *args, **kwargs):
        """List people by e-mail address."""
        access.require(request.user, Permission.PERSON_VIEW)
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by e-mail address."""
        email = self.request.query_params.get("email", "") if self.action == "list" else ""
        return queryset.filter(email=email.lower()[:254]) if email else queryset

    def retrieve(self, request, *args, **kwargs):
        """Show one person."""
        access.require(request.user, Permission.PERSON_VIEW)
        return super().retrieve(request, *args, **kwargs)

    etag_fields = ("email", "name", "is_active")

    @extend_schema(request=serializers.NewPersonSerializer, responses={201: serializers.MadePersonSerializer})
    def create(self, request):
        """Create a person, who is an employee; the answer alone holds their first password."""
        password = people.first_password()
        made = people.create(actor=request.user, password=password, **self.checked(serializers.NewPersonSerializer))
        made.first_password = password
        data = serializers.MadePersonSerializer(made, context=self.get_serializer_context()).data
        return Response(data, status=status.HTTP_201_CREATED)

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.PersonSerializer)
    @action(detail=True, methods=["post"])
    def deactivate(self, request, pk=None):
        """End a person's access at once."""
        person = self.get_object()
        people.deactivate(actor=request.user, user=person, **self.checked(serializers.ReasonSerializer))
        return Response(self.get_serializer(person).data)

    @extend_schema(request=None, responses=serializers.PersonSerializer)
    @action(detail=True, methods=["post"])
    def reactivate(self, request, pk=None):
        """Take a person back with the roles and tokens that they had."""
        person = self.get_object()
        people.reactivate(actor=request.user, user=person)
        return Response(self.get_serializer(person).data)


class Roles(rest.ViewSet):
    """Who holds which role where: everybody's for those who may see people, else one's own and one's teams'."""

    model = RoleAssignment
    ordering = ("-id",)
    serializer_class = serializers.RoleSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "member.manage",
        "destroy": "member.manage",
    }
    etag_fields = ("role", "scope_id", "expires_at")

    def get_queryset(self):
        """Return the assignments that the caller may see."""
        return super().get_queryset().select_related("user")

    @extend_schema(
        parameters=[
            _parameter("role", "Only this role.", enum=[role.value for role in Role]),
            _parameter("team", "Only in the team with this id."),
            _parameter("user", "Only of the person with this id."),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List assignments, newest first."""
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by role, team and person."""
        if self.action != "list":
            return queryset
        role = _one_of(self.request, "role", [role.value for role in Role])
        if role:
            queryset = queryset.filter(role=role)
        for name, column in (("team", "scope_id"), ("user", "user_id")):
            given = self.request.query_params.get(name, "")
            if given:
                if not given.isdecimal() or len(given) > 18:
                    raise BadRequest(f"“{name}” is an id, a whole number.")
                queryset = queryset.filter(**{column: int(given)})
        return queryset

    @extend_schema(request=serializers.GrantSerializer, responses={201: serializers.RoleSerializer})
    def create(self, request):
        """Give a role in a team (member.manage there) or in the organisation (person.manage)."""
        assignment = roles.grant(actor=request.user, **self.checked(serializers.GrantSerializer))
        return Response(self.get_serializer(assignment).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request, pk=None):
        """Take a role away at once."""
        roles.revoke(actor=request.user, assignment=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class Shares(rest.ViewSet):
    """Single objects opened to single people until a date."""

    model = Share
    ordering = ("-id",)
    serializer_class = serializers.ShareSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "signed_in",
        "destroy": "signed_in",
    }
    etag_fields = ("permission", "expires_at")

    def get_queryset(self):
        """Return the shares that the caller may see."""
        return super().get_queryset().select_related("user", "content_type")

    @extend_schema(request=serializers.NewShareSerializer, responses={201: serializers.ShareSerializer})
    def create(self, request):
        """Open one object to one person; needs dataset.share or model.share in the object's team."""
        made = roles.share(actor=request.user, **self.checked(serializers.NewShareSerializer))
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request, pk=None):
        """End a share at once."""
        roles.unshare(actor=request.user, share=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class Tokens(ShownOnce):
    """The caller's own tokens. A token sees itself alone and cannot make another."""

    secret = "token"  # noqa: S105 - the name of a field

    model = ApiToken
    ordering = ("-created_at", "-id")
    serializer_class = serializers.TokenSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "signed_in",
        "destroy": "signed_in",
    }
    etag_fields = ("revoked_at", "last_used_at")

    @extend_schema(request=serializers.NewTokenSerializer, responses={201: serializers.MadeTokenSerializer})
    def create(self, request):
        """Make a token; the answer alone holds the token itself."""
        token, secret = tokens.create(
            actor=request.user, user=request.user, **self.checked(serializers.NewTokenSerializer)
        )
        token.token = secret
        data = serializers.MadeTokenSerializer(token, context=self.get_serializer_context()).data
        return Response(data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request, pk=None):
        """Revoke a token at once."""
        tokens.revoke(actor=request.user, token=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class Me(rest.Endpoint):
    """The caller."""

    model = User
    serializer_class = serializers.MeSerializer
    pagination_class = None
    gatehouse_policy = {"list": "signed_in"}

    @extend_schema(operation_id="me_retrieve", responses=forced_singular_serializer(serializers.MeSerializer))
    def list(self, request, *args, **kwargs):
        """Show who the caller is, their roles, and the token that they used."""
        return Response(self.get_serializer(request.user).data)


router = SimpleRouter()
router.register("approvals", Approvals, basename="approval")
router.register("ledger", Ledger, basename="ledger")
router.register("people", People, basename="person")
router.register("roles", Roles, basename="role")
router.register("shares", Shares, basename="share")
router.register("tokens", Tokens, basename="token")
router.register("me", Me, basename="me")
