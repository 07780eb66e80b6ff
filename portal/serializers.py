"""The site's own objects as the REST API shows and takes them: shape only."""

from __future__ import annotations

from rest_framework import serializers

from governance.interfaces.rest import ScopedRelatedField
from portal.models import SavedView
from projects.models import Team


class SavedViewSerializer(serializers.ModelSerializer):
    """A view of a list that somebody keeps."""

    owner = serializers.CharField(source="owner.email")
    team = serializers.SlugRelatedField("slug", read_only=True, allow_null=True)
    usual = serializers.BooleanField(source="is_usual", help_text="Whether you start with it when opening the list.")

    class Meta:
        model = SavedView
        fields = ["id", "listing", "name", "query", "audience", "team", "owner", "usual", "created_at", "changed_at"]


class NewSavedViewSerializer(serializers.Serializer):
    """What a view is made of."""

    listing = serializers.CharField(max_length=40, help_text="The key of a list, such as use-cases.")
    name = serializers.CharField(max_length=80)
    query = serializers.CharField(
        max_length=4000, required=False, allow_blank=True, default="", help_text="As in the address of the list's page."
    )
    audience = serializers.ChoiceField(SavedView.Audience.choices, default=SavedView.Audience.PRIVATE)
    team = ScopedRelatedField(Team, required=False, allow_null=True, help_text="The id of the team to share it with.")


class SavedViewChangeSerializer(serializers.Serializer):
    """What is to be different about a view."""

    name = serializers.CharField(max_length=80, required=False)
    query = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    audience = serializers.ChoiceField(SavedView.Audience.choices, required=False)
    team = ScopedRelatedField(Team, required=False, allow_null=True)
