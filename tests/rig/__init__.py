"""The real parts that tests run on: PostgreSQL, Redis, Chromium and the whole stack, started by fixtures."""
