"""What the tests of this package start from."""

import pytest

from tests.training.factories import Ground, make_ground


@pytest.fixture
def ground(alice, bob, carol, frank, team, tmp_path) -> Ground:
    """A use case, a dataset version and a base model, each gate open."""
    return make_ground(owner=alice, reviewer=carol, administrator=frank, team=team, folder=tmp_path / "tiny")
