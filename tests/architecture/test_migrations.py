"""Migrations are a line: each package has one newest migration, so that two changes at once are put in order."""

from __future__ import annotations

import pytest
from django.db.migrations.loader import MigrationLoader

from tests.architecture import source


@pytest.fixture(scope="module")
def graph():
    return MigrationLoader(None, ignore_no_migrations=True).graph


@pytest.mark.parametrize("package", source.PACKAGES)
def test_a_package_has_one_newest_migration(package, graph):
    newest = sorted(name for _package, name in graph.leaf_nodes(package))
    assert len(newest) == 1, (
        f"{package} has several newest migrations: {', '.join(newest)}. Give yours the next number and let it depend on the "
        "other."
    )
