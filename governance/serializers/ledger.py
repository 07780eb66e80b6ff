"""The shape of what programs read about the ledger."""

from __future__ import annotations

import base64

from rest_framework import serializers

from governance.models import Anchor, Checkpoint, LedgerEntry, Receipt, Verification
from governance.services import ledger


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


class AnchorSerializer(serializers.ModelSerializer):
    """One attempt to put a checkpoint out of the operator's reach."""

    root = serializers.SerializerMethodField(help_text="In hex.")
    proof = serializers.SerializerMethodField(help_text="What came back, such as an RFC 3161 token, in base64.")

    class Meta:
        model = Anchor
        fields = ["id", "kind", "place", "size", "root", "succeeded", "problem", "proof", "at"]
        read_only_fields = fields

    def get_root(self, row) -> str:
        """Return the root in hex."""
        return bytes(row.root).hex()

    def get_proof(self, row) -> str:
        """Return the proof in base64."""
        return base64.b64encode(bytes(row.proof)).decode()


class VerificationSerializer(serializers.ModelSerializer):
    """A verification of the whole ledger by a worker."""

    class Meta:
        model = Verification
        fields = ["id", "state", "requested_by", "requested_at", "size", "done", "finished_at", "problem"]
        read_only_fields = fields


class ReceiptRowSerializer(serializers.ModelSerializer):
    """A receipt that the caller is owed for a decision; fetch it at the entry."""

    action = serializers.CharField(source="entry.action", read_only=True)
    number = serializers.IntegerField(source="entry.sealed.number", read_only=True)

    class Meta:
        model = Receipt
        fields = ["id", "entry", "action", "number", "sent_at", "problem"]
        read_only_fields = fields


class KeySerializer(serializers.Serializer):
    """A public key of the ledger, and the proved entry in which it took over (null for the first)."""

    public = serializers.CharField(help_text="Ed25519, in hex.")
    first_size = serializers.IntegerField(help_text="The smallest checkpoint that it signs.")
    rotation = serializers.JSONField(allow_null=True, help_text="Its number, canonical bytes (base64) and path (hex).")


class ReceiptSerializer(serializers.Serializer):
    """What proves an entry without the server: `python verify.py receipt FILE` checks it."""

    format = serializers.CharField()
    origin = serializers.CharField()
    entry = serializers.JSONField(help_text="number, canonical (base64), leaf (hex).")
    texts = serializers.JSONField(help_text="Salt (hex) and text of each text that was not erased.")
    path = serializers.ListField(child=serializers.CharField(), help_text="Inclusion proof (RFC 9162), in hex.")
    checkpoint = serializers.CharField(help_text="The signed note.")
    keys = KeySerializer(many=True)


class ConsistencySerializer(serializers.Serializer):
    """What proves that the ledger only grew since an older checkpoint."""

    format = serializers.CharField()
    origin = serializers.CharField()
    old_size = serializers.IntegerField()
    old_root = serializers.CharField(help_text="In hex.")
    path = serializers.ListField(child=serializers.CharField(), help_text="Consistency proof (RFC 9162), in hex.")
    checkpoint = serializers.CharField(help_text="The signed note of the newer tree.")
    keys = KeySerializer(many=True)


class EraseSerializer(serializers.Serializer):
    """Why texts are erased."""

    reason = serializers.CharField(min_length=10, max_length=1000)


class AnonymiseSerializer(EraseSerializer):
    """Why a person is made unknown, and whether what they wrote goes too."""

    written = serializers.BooleanField(default=False)
