"""Starts engine processes by forking from one that has imported everything, which saves seconds for each.

Reads one JSON object per line: ``{"start": {"request", "stdout", "stderr"}}`` (paths) answers with the child's pid,
``{"wait": pid}`` with its exit code (negative: the signal that killed it).
"""

import json
import os
import sys

# Imported for their cost alone; nothing is computed before the fork, so no thread exists that a child would miss.
import torch  # noqa: F401

import training.engine.evaluation
import training.engine.export
import training.engine.loop
import training.engine.run  # noqa: F401
from training.engine.__main__ import main


def start(request: str, stdout: str, stderr: str) -> int:
    """Fork a child that reads its request from a file and is the engine from there on; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for descriptor, path, flags in (
            (0, request, os.O_RDONLY),
            (1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            opened = os.open(path, flags, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        code = main()
    finally:
        os._exit(code)


for line in sys.stdin:
    order = json.loads(line)
    if "start" in order:
        sys.stdout.write(f"{start(**order['start'])}\n")
    else:
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(order['wait'], 0)[1])}\n")
    sys.stdout.flush()
