"""What the engine's processes ask of the operating system before they do anything else."""

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; only Linux can do that."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before the request took effect.
        os._exit(1)


def lead_a_group() -> None:
    """Become the leader of a process group, so that whoever stops the run stops its children too."""
    # Job control of an interactive shell has done so already; the leader of a session is not allowed to.
    with contextlib.suppress(OSError):
        if os.getpgrp() != os.getpid() and not sys.stdin.isatty():
            os.setpgid(0, 0)


def prepare_libraries() -> None:
    """Forbid the model libraries every network access and let their threads wait without spinning.

    To be called before they are imported. On a machine that others use too, spinning threads slowed a step of two
    threads to a ninth of its speed.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
    )
