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
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured

        settings.INSTALLED_APPS  # noqa: B018 - reads the settings, which refuse what is wrong with a sentence
    except ImproperlyConfigured as error:
        raise SystemExit(str(error)) from None
    except ImportError as error:
        raise SystemExit(f"Gatehouse's packages are not installed ({error}). Run `make install` first.") from error
    try:
        execute_from_command_line(sys.argv)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in {"governance", "portal", "projects", "training"}:
            raise
        raise SystemExit(f"The package {error.name} is not installed. Run `make install` first.") from error


if __name__ == "__main__":
    main()
