"""People, their roles, what is shared with them, their tokens, and the caller."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response

from governance import serializers
from governance.api.doors import SignIn
from governance.api.queries import one_of, query
from governance.interfaces import rest
from governance.interfaces.bulk import Bulk
from governance.lists import PEOPLE
from governance.models import ApiToken, Erasure, RoleAssignment, Share, User
from governance.policy import Permission, Role
from governance.services import access, erasures, people, roles, tokens


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


class People(SignIn, Bulk, ShownOnce):
    """People and their accounts."""

    listing = PEOPLE
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
        "bulk": "person.manage",
        "anonymise": "text.erase",
        **SignIn.sign_in_policy,
    }

    @extend_schema(parameters=[query("email", "Only the person with this e-mail address.")])
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

    @extend_schema(
        request=serializers.AnonymiseSerializer,
        responses={200: serializers.PersonSerializer, 202: serializers.ErasureSerializer},
    )
    @action(detail=True, methods=["post"])
    def anonymise(self, request, pk=None):
        """Erase who a person is: name, address, sign-in and the texts about them. It cannot be undone.

        Where the operator asks for two people it waits for the second one, and the answer is the erasure (202).
        """
        person = self.get_object()
        asked = erasures.ask(actor=request.user, person=person, **self.checked(serializers.AnonymiseSerializer))
        if asked.state == Erasure.State.WAITING:
            data = serializers.ErasureSerializer(asked, context=self.get_serializer_context()).data
            return Response(data, status=status.HTTP_202_ACCEPTED)
        person.refresh_from_db()
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
        "preview": "member.manage",
        "destroy": "member.manage",
    }
    etag_fields = ("role", "scope_id", "expires_at")

    def get_queryset(self):
        """Return the assignments that the caller may see."""
        return super().get_queryset().select_related("user")

    @extend_schema(
        parameters=[
            query("role", "Only this role.", enum=[role.value for role in Role]),
            query("team", "Only in the team with this id."),
            query("user", "Only of the person with this id."),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List assignments, newest first."""
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by role, team and person."""
        if self.action != "list":
            return queryset
        role = one_of(self.request, "role", [role.value for role in Role])
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

    @extend_schema(request=serializers.GrantSerializer, responses=serializers.EffectSerializer)
    @action(detail=False, methods=["post"], pagination_class=None)
    def preview(self, request):
        """Tell what giving the role would do: what is new, what they would see, what is in the way. Changes nothing."""
        given = self.checked(serializers.GrantSerializer)
        team = given["team"]
        access.require(request.user, Permission.MEMBER_MANAGE if team else Permission.PERSON_MANAGE, team)
        effect = roles.effect(user=given["user"], role=given["role"], team=team)
        return Response(serializers.EffectSerializer(effect).data)

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
