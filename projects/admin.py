"""Django's own admin, for looking only: changes go through services, which check and record."""

from __future__ import annotations

from django.contrib import admin

from projects.models import (
    Blob,
    Commit,
    Dataset,
    DatasetClearance,
    DatasetVersion,
    Ref,
    Repository,
    StrategicGoal,
    Team,
    UseCase,
)


class ReadOnlyAdmin(admin.ModelAdmin):
    """Shows rows and changes none, whoever looks."""

    show_full_result_count = False

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Team)
class TeamAdmin(ReadOnlyAdmin):
    """Teams."""

    list_display = ["slug", "name", "created_at"]
    search_fields = ["slug", "name"]


@admin.register(StrategicGoal)
class StrategicGoalAdmin(ReadOnlyAdmin):
    """Goals."""

    list_display = ["title", "is_current"]


@admin.register(UseCase)
class UseCaseAdmin(ReadOnlyAdmin):
    """Use cases."""

    list_display = ["title", "team", "stage", "version", "changed_at"]
    list_filter = ["stage"]
    list_select_related = ["team"]
    search_fields = ["title"]


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    """Datasets."""

    list_display = ["name", "team", "classification", "licence", "changed_at"]
    list_filter = ["classification"]
    list_select_related = ["team"]
    search_fields = ["name", "title"]


@admin.register(DatasetVersion)
class DatasetVersionAdmin(ReadOnlyAdmin):
    """Dataset versions."""

    list_display = ["dataset", "number", "state", "rows", "attempts", "created_at"]
    list_filter = ["state"]
    list_select_related = ["dataset__team"]


@admin.register(DatasetClearance)
class DatasetClearanceAdmin(ReadOnlyAdmin):
    """Clearances."""

    list_display = ["version", "use_case", "requested_by", "requested_at"]
    list_select_related = ["version__dataset__team", "use_case", "requested_by"]


@admin.register(Repository)
class RepositoryAdmin(ReadOnlyAdmin):
    """Repositories."""

    list_display = ["name", "kind", "team", "created_at"]
    list_filter = ["kind"]
    list_select_related = ["team"]


@admin.register(Commit)
class CommitAdmin(ReadOnlyAdmin):
    """Commits."""

    list_display = ["oid", "repository", "message", "author", "created_at"]
    list_select_related = ["repository__team", "author"]
    search_fields = ["oid"]


@admin.register(Ref)
class RefAdmin(ReadOnlyAdmin):
    """Refs."""

    list_display = ["name", "repository", "commit"]
    list_select_related = ["repository__team", "commit"]


@admin.register(Blob)
class BlobAdmin(ReadOnlyAdmin):
    """Stored bytes."""

    list_display = ["sha256", "size", "stored_at"]
    search_fields = ["sha256"]
