"""The site: settings, URL map, pages that join packages, the REST root and the gateway. Nothing imports it."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
