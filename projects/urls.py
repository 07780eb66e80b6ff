"""The pages of the projects package."""

app_name = "projects"

urlpatterns = []
