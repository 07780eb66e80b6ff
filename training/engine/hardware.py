"""What this machine offers: the device, the number of threads, and the number format that is fast on it."""

import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from training.engine.failures import EngineError


@dataclass(frozen=True)
class Hardware:
    """Where a run computes: ``device`` is cpu or cuda, ``bf16`` says whether training uses that format."""

    device: str
    threads: int
    bf16: bool

    @property
    def precision(self) -> str:
        """Return the name of the number format of training."""
        return "bf16" if self.bf16 else "fp32"


def usable_cores() -> int:
    """Return how many processors this process may use, by affinity and by the control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    return max(1, cores)


def cpu_is_fast_in_bf16() -> bool:
    """Tell whether bf16 pays on this processor.

    Both checks are needed: where the instructions are missing, or oneDNN does not use them, bf16 is emulated and
    more than thirty times slower than fp32.
    """
    instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(instructions and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def choose(device: str, precision: str, threads: int = 0) -> Hardware:
    """Return the hardware for a run; ``device`` and ``precision`` may be ``auto``, ``threads`` 0 lets us choose.

    Raises ``EngineError`` with code ``no_device`` when cuda is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError(
            "no_device",
            "The run asks for a GPU and this worker has none.",
            "Send the run to a worker with a GPU, or choose the device auto or cpu.",
            retryable=True,
        )
    found = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    fast = torch.cuda.is_bf16_supported() if found == "cuda" else cpu_is_fast_in_bf16()
    return Hardware(found, threads or usable_cores(), precision == "bf16" or (precision == "auto" and fast))


def describe() -> dict[str, str]:
    """Return the names of processor, system and accelerator, for environment.json."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return {
        "processor": name,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": gpu,
        "os": platform.system(),
    }
