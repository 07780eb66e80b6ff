"""What the tests of pages start from."""

import pytest

from tests.training.services.test_registry import make_version, publish
from training.models import ModelVersion


@pytest.fixture
def as_(client):
    """Return a function that signs the client in as a persona."""

    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def version(ground, bob, system, tmp_path) -> ModelVersion:
    """Return a version of bob's, evaluated and not yet published."""
    return make_version(ground, bob, system, tmp_path / "run")


@pytest.fixture
def published(version, bob, carol) -> ModelVersion:
    """Return a version that is offered to the whole organisation."""
    publish(version, bob, carol)
    return version
