"""The site's own addresses: home, search, saved views, health."""

from django.urls import path

from portal import views
from portal.views import saved_views

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
    path("welcome/<str:ticket>/", views.welcome, name="welcome"),
    path("models/<slug:team>/<str:name>/try/", views.try_model, name="try_model"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
