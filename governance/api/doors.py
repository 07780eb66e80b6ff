"""Signing in, for programs: one's own sessions, and what an administrator does about those of others."""

from __future__ import annotations

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response

from governance import serializers
from governance.interfaces import rest
from governance.models import ApiToken, BrowserSession, User
from governance.policy import Permission
from governance.services import access, factors, lockouts, people, sessions, tokens


class Sessions(rest.ViewSet):
    """The browsers in which the caller is signed in. A token needs the scope "admin" for it."""

    model = BrowserSession
    ordering = ("-last_seen_at", "-id")
    serializer_class = serializers.SessionSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "destroy": "signed_in",
        "end_others": "signed_in",
    }
    etag_fields = ("started_at", "last_seen_at")

    def get_queryset(self):
        """Return the caller's sessions that have not run out."""
        return super().get_queryset().live()

    def list(self, request, *args, **kwargs):
        """List sessions, the one seen last first."""
        access.require_token(request.user, Permission.PERSON_MANAGE)
        return super().list(request, *args, **kwargs)

    @extend_schema(responses={204: None})
    def destroy(self, request, pk=None):
        """Sign one browser out at once."""
        sessions.end(actor=request.user, session=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=serializers.EndedSerializer)
    @action(detail=False, methods=["post"], url_path="end-others")
    def end_others(self, request):
        """Sign every browser out at once, all but the one that makes this call."""
        here = None if getattr(request.user, "token", None) is not None else request.session.session_key
        ended = sessions.end_all(actor=request.user, user=request.user, but=here, why="all_others")
        return Response({"ended": ended})


class SignIn:
    """What an administrator sees and does about how a person signs in; a part of the endpoint of people."""

    sign_in_policy = {
        "sign_in": "person.manage",
        "end_sessions": "person.manage",
        "unlock": "person.manage",
        "issue_password": "person.manage",
        "remove_factors": "person.manage",
        "tokens": "person.manage",
        "revoke_token": "person.manage",
    }

    def _managed(self, request) -> User:
        access.require(request.user, Permission.PERSON_MANAGE)
        return self.get_object()

    @extend_schema(responses=serializers.SignInSerializer)
    @action(detail=True, methods=["get"], url_path="sign-in")
    def sign_in(self, request, pk=None):
        """Show how many sessions a person has, until when they are locked out, and which second factors they have."""
        person = self._managed(request)
        lock = lockouts.of_account(person.email)
        person.sessions = BrowserSession.objects.manageable_by(request.user).filter(user=person).live().count()
        person.locked_until = lock.until if lock else None
        person.second_factors = factors.of(person)
        return Response(serializers.SignInSerializer(person, context=self.get_serializer_context()).data)

    @extend_schema(request=None, responses=serializers.EndedSerializer)
    @action(detail=True, methods=["post"], url_path="end-sessions")
    def end_sessions(self, request, pk=None):
        """Sign every browser of a person out at once."""
        person = self._managed(request)
        return Response({"ended": sessions.end_all(actor=request.user, user=person, why="administrator")})

    @extend_schema(request=None, responses=serializers.OpenedSerializer)
    @action(detail=True, methods=["post"])
    def unlock(self, request, pk=None):
        """Let a person try again before their lock runs out."""
        person = self._managed(request)
        return Response({"opened": lockouts.unlock(actor=request.user, account=person.email) > 0})

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.IssuedPasswordSerializer)
    @action(detail=True, methods=["post"], url_path="issue-password")
    def issue_password(self, request, pk=None):
        """Give a new first password to somebody who cannot get in; the answer alone holds it."""
        person = self._managed(request)
        given = self.checked(serializers.ReasonSerializer)
        password = people.first_password()
        people.set_password(actor=request.user, user=person, password=password, **given)
        person.first_password = password
        return Response(serializers.IssuedPasswordSerializer(person, context=self.get_serializer_context()).data)

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.SignInSerializer)
    @action(detail=True, methods=["post"], url_path="remove-factors")
    def remove_factors(self, request, pk=None):
        """Take every second factor from somebody who lost theirs."""
        person = self._managed(request)
        factors.remove_all(actor=request.user, user=person, **self.checked(serializers.ReasonSerializer))
        person.sessions, person.locked_until, person.second_factors = 0, None, []
        return Response(serializers.SignInSerializer(person, context=self.get_serializer_context()).data)

    @extend_schema(responses=serializers.TokenSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def tokens(self, request, pk=None):
        """List a person's newest hundred tokens, without their secrets."""
        person = self._managed(request)
        rows = ApiToken.objects.manageable_by(request.user).filter(user=person)[:100]
        return Response(serializers.TokenSerializer(rows, many=True, context=self.get_serializer_context()).data)

    @extend_schema(request=None, responses=serializers.TokenSerializer)
    @action(detail=True, methods=["post"], url_path=r"tokens/(?P<token>[0-9]{1,18})/revoke")
    def revoke_token(self, request, pk=None, token=None):
        """Revoke a person's token at once."""
        person = self._managed(request)
        row = get_object_or_404(ApiToken.objects.manageable_by(request.user).filter(user=person), pk=token)
        tokens.revoke(actor=request.user, token=row)
        return Response(serializers.TokenSerializer(row, context=self.get_serializer_context()).data)


class Locks(rest.Endpoint):
    """Accounts and addresses from which too many wrong passwords came."""

    model = User
    serializer_class = serializers.LockSerializer
    pagination_class = None
    gatehouse_policy = {"list": "person.manage", "open": "person.manage"}

    @extend_schema(responses=serializers.LockSerializer(many=True))
    def list(self, request, *args, **kwargs):
        """List the locks that hold now."""
        access.require(request.user, Permission.PERSON_MANAGE)
        return Response(serializers.LockSerializer(lockouts.in_force(), many=True).data)

    @extend_schema(request=serializers.UnlockSerializer, responses=serializers.OpenedSerializer)
    @action(detail=False, methods=["post"])
    def open(self, request):
        """Open the lock of one account or one address."""
        given = self.checked(serializers.UnlockSerializer)
        return Response({"opened": lockouts.unlock(actor=request.user, **given) > 0})
