"""The site's own addresses: home, search, saved views, usage, quotas, health."""

from django.urls import path

from portal import views
from portal.views import chat, device_logins, feedback, guardrails, quotas, saved_views, usage

app_name = "portal"

urlpatterns = [
    path("", views.home, name="home"),
    path("search/", views.search, name="search"),
    path("views/", saved_views.index, name="saved_views"),
    path("views/new/", saved_views.create, name="saved_view_new"),
    path("views/<int:pk>/", saved_views.opened, name="saved_view"),
    path("views/<int:pk>/edit/", saved_views.edit, name="saved_view_edit"),
    path("views/<int:pk>/start/", saved_views.start_with, name="saved_view_start"),
    path("views/<int:pk>/delete/", saved_views.remove, name="saved_view_delete"),
    path("account/device/", device_logins.confirm, name="device_login"),
    path("welcome/<str:ticket>/", views.welcome, name="welcome"),
    path("models/<slug:team>/<str:name>/try/", views.try_model, name="try_model"),
    path("models/<slug:team>/<str:name>/guardrails/", guardrails.detail, name="guardrails"),
    path("usage/", usage.overview, name="usage"),
    path("usage/calls/", usage.calls, name="usage_calls"),
    path("usage/calls/export.csv", usage.export, name="usage_calls_export"),
    path("usage/<int:pk>/feedback/", feedback.give, name="feedback_give"),
    path("feedback/", feedback.listing, name="feedback"),
    path("feedback/export.csv", feedback.export, name="feedback_export"),
    path("use-cases/<int:pk>/labelled.csv", feedback.labelled, name="feedback_labelled"),
    path("quotas/", quotas.listing, name="quotas"),
    path("quotas/export.csv", quotas.export, name="quotas_export"),
    path("quotas/bulk/", quotas.bulk_end, name="quotas_bulk"),
    path("quotas/new/", quotas.create, name="quota_new"),
    path("quotas/<int:pk>/", quotas.detail, name="quota"),
    path("quotas/<int:pk>/end/", quotas.end, name="quota_end"),
    path("models/<slug:team>/<str:name>/chat/", chat.chat, name="chat"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
