"""The shape of what programs read and send about approvals, the ledger, people, roles, shares and tokens."""

from __future__ import annotations

import base64

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from governance.interfaces.rest import ScopedRelatedField
from governance.models import (
    ApiToken,
    ApprovalComment,
    ApprovalRequest,
    Checkpoint,
    Decision,
    LedgerEntry,
    RoleAssignment,
    Share,
    User,
)
from governance.policy import ROLE_PERMISSIONS, SHAREABLE, Role, TokenScope
from governance.services import access, approvals, ledger, tokens


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


class DecisionSerializer(serializers.ModelSerializer):
    """One approver's answer."""

    approver = PersonSerializer(read_only=True)

    class Meta:
        model = Decision
        fields = ["id", "approver", "verdict", "digest", "comment", "conditions", "decided_at"]
        read_only_fields = fields


class CommentSerializer(serializers.ModelSerializer):
    """Something said about a request, or about one part of it."""

    author = PersonSerializer(read_only=True)

    class Meta:
        model = ApprovalComment
        fields = ["id", "author", "part", "text", "at"]
        read_only_fields = ["id", "author", "at"]
        extra_kwargs = {"text": {"max_length": 10_000}}


class ApprovalSerializer(serializers.ModelSerializer):
    """A request for approval, as lists show it."""

    requester = PersonSerializer(read_only=True)
    subject_type = serializers.SerializerMethodField()
    subject_id = serializers.IntegerField(source="object_id", read_only=True)
    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)
    question = serializers.CharField(read_only=True)

    class Meta:
        model = ApprovalRequest
        fields = [
            "id",
            "gate",
            "question",
            "subject_type",
            "subject_id",
            "subject_label",
            "team",
            "digest",
            "requester",
            "note",
            "state",
            "requested_at",
            "closed_at",
            "closed_because",
        ]
        read_only_fields = fields

    def get_subject_type(self, row) -> str:
        """Return the label of the subject's model."""
        return f"{row.content_type.app_label}.{row.content_type.model}"


class PartSerializer(serializers.Serializer):
    """One part of the material."""

    part = serializers.CharField()
    text = serializers.CharField()


class DifferenceSerializer(serializers.Serializer):
    """One part that reads differently from what was last approved."""

    part = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()


@extend_schema_serializer(component_name="GateCheck")
class CheckSerializer(serializers.Serializer):
    """One condition of the gate, as it stood when the request was made."""

    label = serializers.CharField()
    met = serializers.BooleanField()
    advice = serializers.CharField()
    url = serializers.CharField()


class ApprovalDetailSerializer(ApprovalSerializer):
    """A request with everything that is put before the reviewers."""

    material = serializers.SerializerMethodField()
    changes = serializers.SerializerMethodField()
    checklist = serializers.SerializerMethodField()
    outstanding = serializers.SerializerMethodField()
    decisions = DecisionSerializer(many=True, read_only=True)

    class Meta(ApprovalSerializer.Meta):
        fields = [
            *ApprovalSerializer.Meta.fields,
            "material",
            "changes",
            "checklist",
            "outstanding",
            "decisions",
        ]
        read_only_fields = fields

    def get_material(self, row) -> PartSerializer(many=True):
        """Return the material as it was asked, part by part."""
        return [{"part": part, "text": text} for part, text in approvals.parts(row)]

    def get_changes(self, row) -> DifferenceSerializer(many=True):
        """Return what reads differently from what was last approved."""
        before = approvals.previous(row)
        found = approvals.differences(before, row) if before else []
        return [{"part": d.part, "before": d.before, "after": d.after} for d in found]

    def get_checklist(self, row) -> CheckSerializer(many=True):
        """Return the gate's conditions as they stood."""
        return row.snapshot["checklist"]

    def get_outstanding(self, row) -> list[str]:
        """Return what is still missing, each a sentence."""
        return approvals.outstanding(row)


class DecideSerializer(serializers.Serializer):
    """A verdict; the digest that it is about comes in If-Match."""

    verdict = serializers.ChoiceField(choices=Decision.Verdict.choices)
    comment = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")
    conditions = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class EntrySerializer(serializers.ModelSerializer):
    """A ledger entry, as lists show it."""

    number = serializers.SerializerMethodField()
    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)

    class Meta:
        model = LedgerEntry
        fields = [
            "id",
            "number",
            "at",
            "action",
            "actor",
            "on_behalf_of",
            "subject_type",
            "subject_id",
            "subject_digest",
            "team",
            "request_id",
        ]
        read_only_fields = fields

    def get_number(self, row) -> int | None:
        """Return its place in the tree, or null while it waits for one."""
        return row.sealed.number if hasattr(row, "sealed") else None


class EntryDetailSerializer(EntrySerializer):
    """A ledger entry with its exact bytes and the free texts that were not erased."""

    canonical = serializers.SerializerMethodField(help_text="The exact bytes (RFC 8785), in base64.")
    leaf_hash = serializers.SerializerMethodField(help_text="SHA-256(0x00 || canonical), in hex.")
    body = serializers.SerializerMethodField(help_text="The same as an object.")
    texts = serializers.SerializerMethodField(help_text="Free texts by name; an erased one reads “(erased)”.")

    class Meta(EntrySerializer.Meta):
        fields = [*EntrySerializer.Meta.fields, "canonical", "leaf_hash", "body", "texts"]
        read_only_fields = fields

    def get_canonical(self, row) -> str:
        """Return the bytes in base64."""
        return base64.b64encode(bytes(row.canonical)).decode()

    def get_leaf_hash(self, row) -> str:
        """Return the leaf hash in hex."""
        return bytes(row.leaf_hash).hex()

    def get_body(self, row) -> dict:
        """Return the canonical object."""
        return ledger.body(row)

    def get_texts(self, row) -> dict[str, str]:
        """Return the free texts."""
        return ledger.texts_of(row)


class CheckpointSerializer(serializers.ModelSerializer):
    """The newest signed statement about the tree, and the key that verifies it."""

    root = serializers.SerializerMethodField(help_text="The root of the tree of the first `size` entries, in hex.")
    public_key = serializers.SerializerMethodField(help_text="Ed25519, in hex.")

    class Meta:
        model = Checkpoint
        fields = ["size", "root", "note", "at", "public_key"]
        read_only_fields = fields

    def get_root(self, row) -> str:
        """Return the root in hex."""
        return bytes(row.root).hex()

    def get_public_key(self, row) -> str:
        """Return the public key in hex."""
        return ledger.public_key().hex()


class MeSerializer(PersonSerializer):
    """The caller: who they are, their roles, and the scopes of the token that they used."""

    roles = serializers.SerializerMethodField()
    token = serializers.SerializerMethodField()

    class Meta(PersonSerializer.Meta):
        fields = [*PersonSerializer.Meta.fields, "time_zone", "roles", "token"]
        read_only_fields = fields

    def get_roles(self, row) -> RoleSerializer(many=True):
        """Return the roles held now."""
        held = row.role_assignments.live().select_related("user").order_by("id")
        return RoleSerializer(held, many=True, context=self.context).data

    def get_token(self, row) -> TokenSerializer(allow_null=True):
        """Return the token of this call, or null where it was made with a session."""
        token = getattr(row, "token", None)
        return TokenSerializer(token, context=self.context).data if token is not None else None
