#!/usr/bin/env python
"""Django's command line for Gatehouse."""

import os
import sys


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(f"Gatehouse's packages are not installed ({error}). Run `make install` first.") from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
