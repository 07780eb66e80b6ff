"""A store and a folder for uploads of its own for every test of projects."""

import pytest


@pytest.fixture(autouse=True)
def store(settings, tmp_path):
    """Keep blobs and uploads below the test's own folder; return the folder of the store."""
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "portal.storages.filesystem.ContentStorage",
            "OPTIONS": {"url": f"file://{tmp_path / 'store'}"},
        }
    }
    settings.VAR = tmp_path / "var"
    return tmp_path / "store"
