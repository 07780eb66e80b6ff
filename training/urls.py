"""The pages of the training package."""

app_name = "training"

urlpatterns = []
