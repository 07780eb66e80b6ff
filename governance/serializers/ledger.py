"""The shape of what programs read about the ledger."""

from __future__ import annotations

import base64

from rest_framework import serializers

from governance.models import Checkpoint, LedgerEntry
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
