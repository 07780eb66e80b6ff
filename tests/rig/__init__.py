"""The real parts that tests run on: PostgreSQL, Redis, Chromium and the whole stack, started and stopped by fixtures."""
