"""What every test gets: the real parts of tests.rig."""

pytest_plugins = ["tests.rig.fixtures", "tests.personas", "tests.flush"]
