"""What every test gets: the real parts of tests.rig."""

pytest_plugins = ["tests.rig.fixtures", "tests.rig.site", "tests.rig.served", "tests.personas", "tests.flush"]
