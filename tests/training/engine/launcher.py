"""Starts engine processes by forking from one that has imported everything, which saves seconds for each.

Reads one JSON object per line: ``{"start": {"request", "stdout", "stderr"}}`` (paths) answers with the child's pid,
``{"wait": pid}`` with its exit code (negative: the signal that killed it). ``fault`` beside the paths names something
that shall go wrong in the child, see ``FAULTS``.
"""

import errno
import json
import os
import sys

# Imported for their cost alone; nothing is computed before the fork, so no thread exists that a child would miss.
import torch

import training.engine.evaluation
import training.engine.export
import training.engine.files
import training.engine.loop
import training.engine.run
from training.engine import pooling
from training.engine.__main__ import main


def disk_full() -> None:
    """Let flushing a file fail as it does on a full disk; the machine's own cannot be filled for a test."""

    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    training.engine.files.os.fsync = fsync  # type: ignore[attr-defined]


def out_of_memory() -> None:
    """Let the model ask torch for more memory than any machine has, in the fourth batch of training."""
    embed, batches = pooling.PooledSequenceClassifier.embed, iter(range(100))

    def greedy(self: pooling.PooledSequenceClassifier, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        if self.training and next(batches) == 3:
            torch.empty(2**55)
        return embed(self, *inputs, **named)

    pooling.PooledSequenceClassifier.embed = greedy  # type: ignore[method-assign]


def noise() -> None:
    """Let a library print from Python and from C, and fail with something that nobody foresaw."""

    def noisy(*arguments: object) -> None:
        sys.stdout.write("from python\n")
        sys.stdout.flush()
        os.write(1, b"from c\n")
        raise RuntimeError("strange")

    training.engine.run.execute = noisy


FAULTS = {function.__name__: function for function in (disk_full, out_of_memory, noise)}


def start(request: str, stdout: str, stderr: str, fault: str = "") -> int:
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
        if fault:
            FAULTS[fault]()
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
