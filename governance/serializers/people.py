"""The shape of what programs read and send about people, roles, shares and tokens."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from governance.interfaces.rest import ScopedRelatedField
from governance.models import ApiToken, RoleAssignment, Share, User
from governance.policy import ROLE_PERMISSIONS, SHAREABLE, Role, TokenScope
from governance.services import access, factors, tokens


class PersonSerializer(serializers.ModelSerializer):
    """A person by name."""

    class Meta:
        model = User
        fields = ["id", "name", "email", "is_active", "joined_at"]
        read_only_fields = fields


class NewPersonSerializer(serializers.Serializer):
    """What is needed to create a person."""

    email = serializers.EmailField()
    name = serializers.CharField(max_length=150)


class MadePersonSerializer(PersonSerializer):
    """A person who was just created, with the first password, which is never shown again."""

    first_password = serializers.CharField(read_only=True)

    class Meta(PersonSerializer.Meta):
        fields = [*PersonSerializer.Meta.fields, "first_password"]
        read_only_fields = fields


@extend_schema_serializer(component_name="PersonReason")
class ReasonSerializer(serializers.Serializer):
    """Why something is done."""

    reason = serializers.CharField(max_length=1000)


class RoleSerializer(serializers.ModelSerializer):
    """A role that a person holds in a team, or in the organisation where `team` is null."""

    user = PersonSerializer(read_only=True)
    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)
    permissions = serializers.SerializerMethodField()

    class Meta:
        model = RoleAssignment
        fields = ["id", "user", "role", "team", "granted_by", "granted_at", "expires_at", "permissions"]
        read_only_fields = fields

    def get_permissions(self, row) -> list[str]:
        """Return what comes with the role."""
        return sorted(permission.value for permission in ROLE_PERMISSIONS[Role(row.role)])


def teams():
    """Return the model of teams, which this package knows by its setting alone."""
    return access.scope_model()


class TeamField(ScopedRelatedField):
    """A team that the caller may see, by id."""

    def __init__(self, **kwargs):
        super().__init__(teams(), **kwargs)


class GrantSerializer(serializers.Serializer):
    """Who gets which role, in which team (none for a role in the organisation), until when."""

    user = ScopedRelatedField(User)
    role = serializers.ChoiceField(choices=[role.value for role in Role])
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)

    def get_fields(self):
        """Add the team when the models are loaded."""
        return super().get_fields() | {"team": TeamField(required=False, allow_null=True, default=None)}


class ConflictSerializer(serializers.Serializer):
    """A role held already that gets in the way, and whether that is refused or only warned of."""

    refused = serializers.BooleanField(read_only=True)
    reason = serializers.CharField(read_only=True)


class SeenSerializer(serializers.Serializer):
    """How many things of one kind would be seen; counting stops at 10,001."""

    kind = serializers.CharField(read_only=True)
    count = serializers.IntegerField(read_only=True)


class EffectSerializer(serializers.Serializer):
    """What giving a role would do, before it is given."""

    new = serializers.ListField(child=serializers.CharField(), read_only=True)
    already = serializers.ListField(child=serializers.CharField(), read_only=True)
    sees = serializers.SerializerMethodField()
    conflicts = ConflictSerializer(many=True, read_only=True)
    refused = serializers.BooleanField(read_only=True)

    def get_sees(self, effect) -> SeenSerializer(many=True):
        """Return how many of each kind."""
        return [{"kind": kind, "count": count} for kind, count in effect.sees]


class ShareSerializer(serializers.ModelSerializer):
    """One object opened to one person until a date."""

    user = PersonSerializer(read_only=True)
    subject_type = serializers.SerializerMethodField()
    subject_id = serializers.IntegerField(source="object_id", read_only=True)
    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)

    class Meta:
        model = Share
        fields = [
            "id",
            "user",
            "permission",
            "subject_type",
            "subject_id",
            "team",
            "purpose",
            "granted_by",
            "granted_at",
            "expires_at",
        ]
        read_only_fields = fields

    def get_subject_type(self, row) -> str:
        """Return the label of the object's model."""
        return f"{row.content_type.app_label}.{row.content_type.model}"


class NewShareSerializer(serializers.Serializer):
    """What to share with whom, for what, until when."""

    user = ScopedRelatedField(User)
    permission = serializers.ChoiceField(choices=sorted({p.value for held in SHAREABLE.values() for p in held}))
    subject_type = serializers.ChoiceField(choices=sorted(SHAREABLE))
    subject_id = serializers.IntegerField(min_value=1)
    purpose = serializers.CharField(max_length=300)
    expires_at = serializers.DateTimeField()

    def validate(self, data):
        """Find the object among those that the caller may see."""
        from django.apps import apps

        model = apps.get_model(data.pop("subject_type"))
        number = data.pop("subject_id")
        subject = model.objects.visible_to(self.context["request"].user).filter(pk=number).first()
        if subject is None:
            raise serializers.ValidationError({"subject_id": ["There is no such object that you may see."]})
        return data | {"subject": subject}


class TokenSerializer(serializers.ModelSerializer):
    """A token without its secret."""

    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)
    state = serializers.CharField(read_only=True)

    class Meta:
        model = ApiToken
        fields = ["id", "name", "prefix", "scopes", "team", "state", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields


class NewTokenSerializer(serializers.Serializer):
    """What a token is for and how long it lives."""

    name = serializers.CharField(max_length=tokens.MAX_NAME)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=[scope.value for scope in TokenScope]), min_length=1
    )
    days = serializers.IntegerField(min_value=1, max_value=tokens.MAX_DAYS)

    def get_fields(self):
        """Add the team when the models are loaded."""
        return super().get_fields() | {"team": TeamField(required=False, allow_null=True, default=None)}


class MadeTokenSerializer(TokenSerializer):
    """A token that was just made, with its secret, which is never shown again."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


class FactorSerializer(serializers.Serializer):
    """One second factor by name; its secret is never shown."""

    type = serializers.ChoiceField(choices=["totp", "webauthn", "recovery_codes"], read_only=True)
    name = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)


class MeSerializer(PersonSerializer):
    """The caller: who they are, their roles, their second factors, and the scopes of the token that they used."""

    second_factors = serializers.SerializerMethodField()
    roles = serializers.SerializerMethodField()
    token = serializers.SerializerMethodField()

    class Meta(PersonSerializer.Meta):
        fields = [*PersonSerializer.Meta.fields, "time_zone", "second_factors", "roles", "token"]
        read_only_fields = fields

    def get_second_factors(self, row) -> FactorSerializer(many=True):
        """Return the factors by name."""
        return FactorSerializer(factors.of(row), many=True).data

    def get_roles(self, row) -> RoleSerializer(many=True):
        """Return the roles held now."""
        held = row.role_assignments.live().select_related("user").order_by("id")
        return RoleSerializer(held, many=True, context=self.context).data

    def get_token(self, row) -> TokenSerializer(allow_null=True):
        """Return the token of this call, or null where it was made with a session."""
        token = getattr(row, "token", None)
        return TokenSerializer(token, context=self.context).data if token is not None else None
