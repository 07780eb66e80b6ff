"""The shape of what programs read and send about signing in: sessions, second factors, locks."""

from __future__ import annotations

from rest_framework import serializers

from governance.models import BrowserSession, User
from governance.serializers.people import FactorSerializer, MadePersonSerializer


class SessionSerializer(serializers.ModelSerializer):
    """One browser in which the caller is signed in; `current` marks the one that makes this call."""

    browser = serializers.CharField(read_only=True)
    current = serializers.SerializerMethodField()

    class Meta:
        model = BrowserSession
        fields = ["id", "browser", "address", "method", "started_at", "last_seen_at", "expires_at", "current"]
        read_only_fields = fields

    def get_current(self, row) -> bool:
        """Return whether this call was made with the session."""
        request = self.context["request"]
        return getattr(request.user, "token", None) is None and row.key == request.session.session_key


class EndedSerializer(serializers.Serializer):
    """How many sessions were ended."""

    ended = serializers.IntegerField(read_only=True)


class SignInSerializer(serializers.ModelSerializer):
    """How a person signs in, for who looks after them."""

    sessions = serializers.IntegerField(read_only=True)
    locked_until = serializers.DateTimeField(read_only=True, allow_null=True)
    second_factors = FactorSerializer(many=True, read_only=True)

    class Meta:
        model = User
        fields = ["id", "must_change_password", "sessions", "locked_until", "second_factors"]
        read_only_fields = fields


class IssuedPasswordSerializer(MadePersonSerializer):
    """A person with their new first password, which is never shown again."""


class LockSerializer(serializers.Serializer):
    """An account or address that may not try a password until a moment."""

    kind = serializers.ChoiceField(choices=["account", "address"], read_only=True)
    name = serializers.CharField(read_only=True)
    failures = serializers.IntegerField(read_only=True)
    until = serializers.DateTimeField(read_only=True)


class UnlockSerializer(serializers.Serializer):
    """Which account, or which address, may try again; one of both."""

    account = serializers.CharField(max_length=254, required=False)
    address = serializers.IPAddressField(required=False)

    def validate(self, data):
        """Ask for exactly one."""
        if len(data) != 1:
            raise serializers.ValidationError("Give “account” or “address”.")
        return data


class OpenedSerializer(serializers.Serializer):
    """Whether there was a lock to open."""

    opened = serializers.BooleanField(read_only=True)
