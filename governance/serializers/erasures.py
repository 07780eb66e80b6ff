"""The shape of erasures; none of it holds what was erased."""

from __future__ import annotations

from rest_framework import serializers

from governance.models import Erasure, LedgerEntry
from governance.serializers.people import PersonSerializer


class ErasureSerializer(serializers.ModelSerializer):
    """Something that was to be erased: of an entry, or who a person is."""

    number = serializers.SerializerMethodField(help_text="The number of the entry in the ledger.")
    person = PersonSerializer(read_only=True, allow_null=True)
    asked_by = PersonSerializer(read_only=True)
    decided_by = PersonSerializer(read_only=True, allow_null=True)

    class Meta:
        model = Erasure
        fields = [
            "id",
            "entry",
            "number",
            "person",
            "written",
            "reason",
            "asked_by",
            "asked_at",
            "state",
            "decided_by",
            "decided_at",
            "texts",
        ]
        read_only_fields = fields

    def get_number(self, row) -> int | None:
        """Return the number of the entry, or null where it is about a person."""
        return row.entry.sealed.number if row.entry_id and hasattr(row.entry, "sealed") else None


class NewErasureSerializer(serializers.Serializer):
    """The number of the entry whose texts are erased, which the caller need not be able to read, and why."""

    number = serializers.IntegerField(min_value=0, max_value=2**53)
    reason = serializers.CharField(min_length=10, max_length=1000)

    def validate(self, attrs):
        """Find the entry among those whose texts the caller may erase."""
        rows = LedgerEntry.objects.erasable_by(self.context["request"].user).defer("canonical", "leaf_hash")
        entry = rows.filter(sealed__number=attrs.pop("number")).first()
        if entry is None:
            raise serializers.ValidationError({"number": "No entry has this number."})
        return attrs | {"entry": entry}


class DeclineErasureSerializer(serializers.Serializer):
    """Why something is not erased."""

    reason = serializers.CharField(max_length=1000)
