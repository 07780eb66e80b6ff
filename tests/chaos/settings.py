"""The settings of the chaos tests' processes: production's, with an engine that is done at once."""

import os
import sys
from pathlib import Path

from portal.settings import *  # noqa: F403

ENGINE_COMMAND = [sys.executable, "-S", str(Path(__file__).with_name("quick_engine.py"))]
# How long a step takes: longer where a test has to meet a run in its middle.
ENGINE_COMMAND += [os.environ.get("CHAOS_STEP_SECONDS", "0.08")]
# Random kills may meet the same job again and again; here nothing shall be given up for that.
JOB_ATTEMPTS = 1000
SWEEP_SECONDS = 0.3
RING_AGAIN_SECONDS = 2
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
