"""Django's own admin, for reading alone: what changes goes through the services, so that it is checked and recorded."""

from django.contrib import admin

from governance.models import ApprovalRequest, Checkpoint, LedgerEntry, RoleAssignment, User


class ReadOnly(admin.ModelAdmin):
    """Shows rows; nobody adds, changes or deletes them here, whatever Django's permissions say."""

    actions = None
    show_full_result_count = False

    def has_add_permission(self, request):
        """Return that nothing is added here."""
        return False

    def has_change_permission(self, request, obj=None):
        """Return that nothing is changed here."""
        return False

    def has_delete_permission(self, request, obj=None):
        """Return that nothing is deleted here."""
        return False


@admin.register(User)
class People(ReadOnly):
    """People, without their passwords' digests."""

    list_display = ["email", "name", "is_active", "joined_at"]
    search_fields = ["email", "name"]
    fields = ["email", "name", "is_active", "is_staff", "is_superuser", "is_service", "time_zone", "joined_at"]


@admin.register(RoleAssignment)
class RoleAssignments(ReadOnly):
    """Who holds which role where."""

    list_display = ["user", "role", "scope_id", "granted_by", "granted_at", "expires_at"]
    list_filter = ["role"]


@admin.register(ApprovalRequest)
class ApprovalRequests(ReadOnly):
    """Requests and where they stand."""

    list_display = ["subject_label", "gate", "state", "requester", "requested_at"]
    list_filter = ["gate", "state"]


@admin.register(LedgerEntry)
class LedgerEntries(ReadOnly):
    """Entries; the explorer on the site shows more."""

    list_display = ["at", "action", "actor", "subject_type", "subject_id"]


@admin.register(Checkpoint)
class Checkpoints(ReadOnly):
    """Signed statements about the tree."""

    list_display = ["size", "at"]
