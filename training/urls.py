"""The pages of the training package."""

from django.urls import path

from training.views import base_models, jobs, models

app_name = "training"

urlpatterns = [
    path("training/", jobs.listing, name="jobs"),
    path("training/export.csv", jobs.export, name="jobs_export"),
    path("training/bulk/", jobs.bulk_act, name="jobs_bulk"),
    path("training/new/", jobs.create, name="job_new"),
    path("training/new/options/<slug:field>/", jobs.options, name="job_options"),
    path("training/compare/", jobs.compare, name="compare"),
    path("training/jobs/<int:pk>/", jobs.detail, name="job"),
    path("training/jobs/<int:pk>/events/", jobs.events, name="job_events"),
    path("training/jobs/<int:pk>/cancel/", jobs.cancel, name="job_cancel"),
    path("training/jobs/<int:pk>/retry/", jobs.retry, name="job_retry"),
    path("base-models/", base_models.listing, name="base_models"),
    path("base-models/export.csv", base_models.export, name="base_models_export"),
    path("base-models/new/", base_models.create, name="base_model_new"),
    path("base-models/<int:pk>/", base_models.detail, name="base_model"),
    path("base-models/<int:pk>/decide/", base_models.decide, name="base_model_decide"),
    path("models/", models.listing, name="models"),
    path("models/export.csv", models.export, name="models_export"),
    path("models/bulk/", models.bulk_suspend, name="models_bulk"),
    path("models/<str:team>/<str:name>/", models.detail, name="model"),
    path("models/<str:team>/<str:name>/versions/", models.versions, name="model_versions"),
    path("models/<str:team>/<str:name>/history/", models.past, name="model_history"),
    path("models/<str:team>/<str:name>/versions/<int:number>/", models.version, name="model_version"),
    path("models/<str:team>/<str:name>/versions/<int:number>/holders/", models.holders, name="model_holders"),
    path("models/<str:team>/<str:name>/versions/<int:number>/files/<path:path>", models.file, name="model_file"),
    path("models/<str:team>/<str:name>/versions/<int:number>/publish/", models.publish, name="publish"),
    path("publications/<int:pk>/<slug:act>/", models.stop, name="publication_stop"),
    path("use-cases/<int:pk>/models/", models.of_use_case, name="use_case_models"),
    path("dataset-versions/<int:pk>/models/", models.of_dataset_version, name="dataset_version_models"),
]
