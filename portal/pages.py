"""The site's own addresses: home, search, health."""

from django.urls import path

from portal import views

app_name = "portal"

urlpatterns = [
    path("", views.home, name="home"),
    path("search/", views.search, name="search"),
    path("welcome/<str:ticket>/", views.welcome, name="welcome"),
    path("models/<slug:team>/<str:name>/try/", views.try_model, name="try_model"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
