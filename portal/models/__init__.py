"""What only the site knows: the views of lists that people keep and share."""

from portal.models.saved_views import SavedView, UsualView

__all__ = ["SavedView", "UsualView"]
