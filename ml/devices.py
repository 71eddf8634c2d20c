"""Where a model computes, and how much memory there is. Nothing here imports torch."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from pathlib import Path

from ml import errors

CPU = "cpu"
_CUDA = re.compile(r"cuda(:\d+)?")
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def resolve(device: str = "auto") -> str:
    """ "cpu" or "cuda:<n>" for auto, cpu, cuda or cuda:<n>. Raises `ModelInvalid` for what is not there."""
    if device == "auto":
        return "cuda:0" if cuda_devices() else CPU
    if device == CPU:
        return CPU
    if not isinstance(device, str) or not _CUDA.fullmatch(device):
        raise errors.ModelInvalid(f"The device {device!r} is not auto, cpu, cuda or cuda:<n>.")
    number = int(device.partition(":")[2] or 0)
    if number >= cuda_devices():
        raise errors.ModelInvalid(f"There is no device cuda:{number} here; there are {cuda_devices()}.")
    return f"cuda:{number}"


@functools.cache
def cuda_devices() -> int:
    """How many CUDA devices can be used, as the driver counts them; 0 where it is absent."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def memory_kind(device: str) -> str:
    """Whose memory a device computes in: "host" or "cuda"."""
    return "cuda" if device.startswith("cuda") else "host"


@functools.cache
def host_memory_bytes() -> int:
    """What this machine, or the control group that we are confined to, has."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [Path(path).read_text().strip() for path in _CGROUP_LIMITS if Path(path).is_file()]
    return min([total, *(int(limit) for limit in limits if limit.isdigit())])


def resident_bytes() -> int:
    """This process's resident memory; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
