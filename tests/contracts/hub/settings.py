"""The settings of the site that the clients meet: production's, and a store that hands some files on."""

import os

from portal.settings import *  # noqa: F403
from portal.settings import STORAGES

STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "default": {**STORAGES["default"], "BACKEND": "tests.contracts.hub.store.HalfSignedStorage"},
}
OBJECT_STORE = os.environ.get("OBJECT_STORE", "")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
