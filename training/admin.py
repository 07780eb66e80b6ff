"""Django's own admin for this package, for reading alone: what changes goes through the services."""

from django.contrib import admin

from governance.admin import ReadOnly
from training.models import BaseModel, ModelVersion, Publication, RegisteredModel, TrainingJob


@admin.register(BaseModel)
class BaseModels(ReadOnly):
    """The catalogue of base models."""

    list_display = ["name", "title", "licence", "state", "imported_by", "allowed_by"]
    list_filter = ["state"]


@admin.register(TrainingJob)
class TrainingJobs(ReadOnly):
    """Jobs and who holds them."""

    list_display = ["id", "team", "model_name", "state", "owner", "token", "lease_until", "attempts", "submitted_at"]
    list_filter = ["state", "recipe", "method"]
    list_select_related = ["team"]


@admin.register(RegisteredModel)
class RegisteredModels(ReadOnly):
    """Lines of model versions."""

    list_display = ["name", "team", "use_case", "task", "changed_at"]
    list_select_related = ["team", "use_case"]


@admin.register(ModelVersion)
class ModelVersions(ReadOnly):
    """Results of jobs."""

    list_display = ["model", "number", "state", "created_at"]
    list_select_related = ["model__team"]


@admin.register(Publication)
class Publications(ReadOnly):
    """What is or was offered to whom."""

    list_display = ["version", "alias", "audience", "state", "requested_at", "published_at"]
    list_filter = ["state", "audience"]
    list_select_related = ["version__model__team"]
