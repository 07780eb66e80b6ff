"""The pages of the training package, one module per noun."""

from django.utils.translation import gettext_lazy

from governance.actions import Action
from projects.views import history

# How the history of an object words what this package records: after the name, the icon, and its tone.
history.WORDS.update(
    {
        Action.BASE_MODEL_IMPORTED: (gettext_lazy("imported it"), "plus", "info"),
        Action.BASE_MODEL_ALLOWED: (gettext_lazy("allowed it"), "check-circle", "good"),
        Action.BASE_MODEL_DISALLOWED: (gettext_lazy("no longer allowed it"), "x-circle", "bad"),
        Action.PUBLICATION_REQUESTED: (gettext_lazy("asked to publish a version"), "review", "info"),
        Action.PUBLICATION_PUBLISHED: (gettext_lazy("published a version"), "check-circle", "good"),
        Action.PUBLICATION_SUPERSEDED: (gettext_lazy("replaced a version by a newer one"), "archive", ""),
        Action.PUBLICATION_SUSPENDED: (gettext_lazy("suspended a version"), "pause", "bad"),
        Action.PUBLICATION_RETIRED: (gettext_lazy("retired a version"), "archive", "warn"),
    }
)
