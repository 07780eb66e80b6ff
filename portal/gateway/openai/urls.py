"""The addresses of /v1. Ids hold a slash and arrive as they are, so a model's address takes all that follows."""

from django.urls import path

from portal.gateway.openai import files, fine_tuning, views

app_name = "openai"

urlpatterns = [
    path("models", views.models, name="models"),
    path("models/<path:model_id>", views.model, name="model"),
    path("chat/completions", views.chat, name="chat"),
    path("completions", views.completions, name="completions"),
    path("embeddings", views.embeddings, name="embeddings"),
    path("files", files.collection, name="files"),
    path("files/<path:file_id>", files.one, name="file"),
    path("fine_tuning/jobs", fine_tuning.collection, name="jobs"),
    path("fine_tuning/jobs/<str:job_id>", fine_tuning.one, name="job"),
    path("fine_tuning/jobs/<str:job_id>/cancel", fine_tuning.cancel, name="job_cancel"),
    path("fine_tuning/jobs/<str:job_id>/events", fine_tuning.events, name="job_events"),
    path("fine_tuning/jobs/<str:job_id>/checkpoints", fine_tuning.checkpoints, name="job_checkpoints"),
    path("<path:rest>", views.unknown, name="unknown"),
    path("", views.unknown, name="nothing"),
]
