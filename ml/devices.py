"""Where a model computes, and how much memory there is. Nothing here imports torch."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
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


def resident_bytes(pid: int | None = None) -> int:
    """This process's resident memory, or another's; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


# ── GPUs, as the driver's management library sees them ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Gpu:
    """One of the machine's, whoever uses it."""

    number: int  # the driver's; CUDA_VISIBLE_DEVICES does not change it
    name: str
    memory_bytes: int
    used_bytes: int
    utilization: float  # the share of the last moments in which it computed; 0 where the driver does not say


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def gpus() -> tuple[Gpu, ...]:
    """As they are now; none where there is no NVIDIA driver. Takes some tenths of a millisecond a GPU."""
    library = _nvml()
    return tuple(_each_gpu(library)) if library is not None else ()


def _each_gpu(library: ctypes.CDLL) -> Iterator[Gpu]:
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return
    for number in range(count.value):
        device, memory, busy = ctypes.c_void_p(), _Memory(), _Utilization()
        name = ctypes.create_string_buffer(96)
        if library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(device)):
            continue
        if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
            continue
        library.nvmlDeviceGetName(device, name, len(name))
        library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(busy))  # not of slices of a GPU
        yield Gpu(number, name.value.decode(errors="replace"), memory.total, memory.used, busy.gpu / 100)


def driver_version() -> str | None:
    """Of the NVIDIA driver; None where there is none."""
    library, text = _nvml(), ctypes.create_string_buffer(81)
    if library is None or library.nvmlSystemGetDriverVersion(text, len(text)):
        return None
    return text.value.decode()


@functools.cache
def _nvml() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
