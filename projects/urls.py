"""The pages of the projects package."""

from django.urls import path

from projects.views import datasets, teams, uploads, use_case_parts, use_cases, versions

app_name = "projects"

urlpatterns = [
    path("teams/", teams.listing, name="teams"),
    path("teams/options/", teams.options, name="team_options"),
    path("teams/export.csv", teams.export, name="teams_export"),
    path("teams/new/", teams.create, name="team_new"),
    path("teams/<str:slug>/", teams.detail, name="team"),
    path("teams/<str:slug>/edit/", teams.edit, name="team_edit"),
    path("teams/<str:slug>/history/", teams.team_history, name="team_history"),
    path("teams/<str:slug>/members/", teams.grant, name="team_grant"),
    path("teams/<str:slug>/members/<int:pk>/revoke/", teams.revoke, name="team_revoke"),
    path("suggestions/people/", teams.people_suggestions, name="people_suggestions"),
    path("goals/", teams.goal_listing, name="goals"),
    path("goals/new/", teams.goal_create, name="goal_new"),
    path("goals/<int:pk>/edit/", teams.goal_edit, name="goal_edit"),
    path("use-cases/", use_cases.listing, name="use_cases"),
    path("use-cases/export.csv", use_cases.export, name="use_cases_export"),
    path("use-cases/bulk/", use_cases.bulk_move, name="use_cases_bulk"),
    path("use-cases/new/", use_cases.create, name="use_case_new"),
    path("use-cases/new/hints/", use_cases.hints, name="use_case_hints"),
    path("use-cases/<int:pk>/", use_cases.detail, name="use_case"),
    path("use-cases/<int:pk>/edit/", use_cases.edit, name="use_case_edit"),
    path("use-cases/<int:pk>/evidence/", use_cases.evidence, name="use_case_evidence"),
    path("use-cases/<int:pk>/reviews/", use_cases.reviews, name="use_case_reviews"),
    path("use-cases/<int:pk>/history/", use_cases.past, name="use_case_history"),
    path("use-cases/<int:pk>/move/", use_cases.move, name="use_case_move"),
    path("use-cases/<int:pk>/goals/", use_case_parts.goals, name="use_case_goals"),
    path("use-cases/<int:pk>/<slug:part>/new/", use_case_parts.edit, name="use_case_part_new"),
    path("use-cases/<int:pk>/<slug:part>/<int:row>/", use_case_parts.edit, name="use_case_part"),
    path("use-cases/<int:pk>/<slug:part>/<int:row>/remove/", use_case_parts.remove, name="use_case_part_remove"),
    path("datasets/", datasets.listing, name="datasets"),
    path("datasets/export.csv", datasets.export, name="datasets_export"),
    path("datasets/bulk/", datasets.bulk_withdraw, name="datasets_bulk"),
    path("datasets/new/", datasets.create, name="dataset_new"),
    path("datasets/<str:team>/<str:name>/", datasets.detail, name="dataset"),
    path("datasets/<str:team>/<str:name>/edit/", datasets.edit, name="dataset_edit"),
    path("datasets/<str:team>/<str:name>/history/", datasets.past, name="dataset_history"),
    path("datasets/<str:team>/<str:name>/shares/", datasets.share, name="dataset_share"),
    path("datasets/<str:team>/<str:name>/shares/<int:pk>/end/", datasets.unshare, name="dataset_unshare"),
    path("datasets/<str:team>/<str:name>/upload/", uploads.upload, name="dataset_upload"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/", versions.detail, name="dataset_version"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/columns/", uploads.columns, name="dataset_columns"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/progress/", uploads.progress, name="dataset_progress"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/errors.csv", uploads.errors, name="dataset_errors"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/rows/", versions.rows, name="dataset_rows"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/changes/", versions.changes, name="dataset_changes"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/files/", versions.files, name="dataset_files"),
    path(
        "datasets/<str:team>/<str:name>/versions/<int:number>/files/<path:path>",
        versions.download,
        name="dataset_download",
    ),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/use/", versions.use, name="dataset_use"),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/clearances/", versions.clear, name="dataset_clear"),
    path(
        "datasets/<str:team>/<str:name>/versions/<int:number>/datasheet/", versions.datasheet, name="dataset_datasheet"
    ),
    path("datasets/<str:team>/<str:name>/versions/<int:number>/withdraw/", versions.withdraw, name="dataset_withdraw"),
]
