"""Celery's process entry point. A message is a doorbell; the database row is the truth."""

import os
from pathlib import Path

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("gatehouse")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_configure.connect
def _make_folders(sender, **_):
    # The filesystem transport does not create its folders and fails at the first message.
    for name in ("data_folder_in", "control_folder"):
        folder = (sender.conf.broker_transport_options or {}).get(name)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)


@setup_logging.connect
def _keep_django_logging(**_):
    from logging.config import dictConfig

    from django.conf import settings

    dictConfig(settings.LOGGING)
