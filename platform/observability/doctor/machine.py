"""The machine: interpreter, packages, processor, memory, disks, limits, GPUs."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import shutil
import ssl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from ml import devices
from observability.doctor.findings import Finding, Reporter, megabytes

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY_BYTES, ENOUGH_MEMORY_BYTES = 1_500_000_000, 3_500_000_000
LEAST_SHM_BYTES = 64_000_000
_SHARED = "/dev/shm"  # noqa: S108  (looked at, not written)
ENOUGH_FILES, LEAST_FILES = 4096, 512

_PIN = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;#]+)")


def python() -> Iterator[Finding]:
    say, version = Reporter("python"), platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield say.error(f"Python {version} is too old.", "Install Python 3.11 or newer, and build .venv anew with it.")
    elif sys.maxsize < 2**32:
        yield say.error("This Python has 32 bits.", "Install a 64-bit Python: the engines have no others.")
    else:
        yield say.ok(f"Python {version}")
    pins = settings.ROOT / "requirements.txt"
    if not pins.is_file():
        return
    missing, other = _unlike_pinned(pins)
    install = f"{sys.executable} -m pip install -r requirements.txt"
    if missing:
        yield say.error(f"Packages are missing: {', '.join(missing)}.", install)
    if other:
        yield say.warning(f"Packages are not of the version that was tested: {', '.join(other)}.", install)
    if not missing and not other:
        yield say.ok("All packages are of their pinned versions.")


def _unlike_pinned(file: Path) -> tuple[list[str], list[str]]:
    missing, other = [], []
    for line in file.read_text().splitlines():
        pin = _PIN.match(line)
        if pin is None:
            continue
        try:
            installed = importlib.metadata.version(pin[1])
        except importlib.metadata.PackageNotFoundError:
            missing.append(pin[1])
            continue
        if installed.partition("+")[0] != pin[2]:
            other.append(f"{pin[1]} {installed} (pinned: {pin[2]})")
    return missing, other


def cpu() -> Iterator[Finding]:
    say, cores = Reporter("cpu"), len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    if 4 * cores < settings.WORKER_CONCURRENCY:
        yield say.warning(
            f"WORKER_CONCURRENCY is {settings.WORKER_CONCURRENCY} on {cores} cores.",
            "Lower it to about one a core: more only makes every job slower.",
        )
    if platform.machine() == "x86_64" and "avx" not in _cpu_flags():
        yield say.warning("The processor has no AVX.", "The neural engines may not start: use another machine.")
    elif load > 4 * cores:
        yield say.warning(f"{cores} cores, and a load of {load:.1f}.", "See what else computes here.")
    else:
        yield say.ok(f"{cores} cores, load {load:.1f}")


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {"avx"}  # the system does not say
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def memory() -> Iterator[Finding]:
    say, total = Reporter("memory"), devices.host_memory_bytes()
    budget = settings.MODEL_MEMORY_BYTES["host"]
    if total < LEAST_MEMORY_BYTES:
        yield say.error(f"There are {megabytes(total)} of memory.", "The platform needs 2 GB without neural models.")
    elif total < ENOUGH_MEMORY_BYTES:
        yield say.warning(f"There are {megabytes(total)} of memory.", "Give it 4 GB or more for neural models.")
    else:
        yield say.ok(f"{megabytes(total)} of memory")
    if budget and budget > 0.9 * total:
        yield say.error(
            f"MODEL_MEMORY_MB lets models take {megabytes(budget)} of {megabytes(total)}.",
            "Lower it to 60 % of the memory, or leave it empty: the kernel would kill the process.",
        )


def disks() -> Iterator[Finding]:
    folders = {
        "data (DATA_DIR)": settings.DATA_DIR,
        "models (MODEL_BASE_PATH)": Path(settings.MODEL_BASE_PATH),
        "temporary files (TMPDIR)": Path(tempfile.gettempdir()),
    }
    seen: set[int] = set()
    for what, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        device = there.stat().st_dev
        if device not in seen:
            seen.add(device)
            yield _disk(what, there)


def _disk(what: str, folder: Path) -> Finding:
    say, usage, system = Reporter("disk"), shutil.disk_usage(folder), os.statvfs(folder)
    least, described = settings.UPLOAD_RESERVE_BYTES, f"{megabytes(usage.free)} free for {what} at {folder}"
    if system.f_files and not system.f_favail:
        return say.error(
            f"No more files can be made for {what} at {folder}.", "Delete small files: inodes are used up."
        )
    if usage.free < least:
        return say.error(
            f"The disk is full: {described}.",
            f"Make room: uploads are refused (503 storage_full) under {megabytes(least)} (UPLOAD_RESERVE_MB).",
        )
    if usage.free < 4 * least or usage.free < 0.05 * usage.total:
        return say.warning(f"The disk is nearly full: {described}.", "Make room, or shorten retention.")
    return say.ok(described)


def limits() -> Iterator[Finding]:
    say, (files, most) = Reporter("limits"), resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < LEAST_FILES:
        yield say.error(f"A process may open {files} files.", "ulimit -n 65536, or LimitNOFILE=65536 in the unit.")
    elif files < ENOUGH_FILES:
        yield say.warning(
            f"A process may open {files} files: a socket or stream takes one each.",
            f"ulimit -n {min(most, 65536) if most > 0 else 65536}, or LimitNOFILE=65536 in the unit, for many clients.",
        )
    else:
        yield say.ok(f"A process may open {files:,} files.")
    shared = Path(_SHARED)
    size = shutil.disk_usage(shared).total if shared.is_dir() else 0
    if size < LEAST_SHM_BYTES:
        yield say.warning(
            f"{_SHARED} has {megabytes(size)}.", "docker run --shm-size=1g, or shm_size: PostgreSQL and torch use it."
        )
    else:
        yield say.ok(f"{_SHARED} has {megabytes(size)}.")


def certificates() -> Iterator[Finding]:
    say, paths = Reporter("certificates"), ssl.get_default_verify_paths()
    try:
        known = ssl.create_default_context().cert_store_stats()["x509_ca"]
    except (OSError, ssl.SSLError) as error:
        yield say.error(f"The authorities' certificates cannot be read: {error}.", "Look at SSL_CERT_FILE.")
        return
    folder = Path(paths.capath or "")
    if known or (paths.capath and folder.is_dir() and any(folder.iterdir())):
        yield say.ok("Authorities' certificates are there.")
    else:
        yield say.error(
            "There are no authorities' certificates: webhooks, S3, mail and model hubs fail over TLS.",
            "apt install ca-certificates, or set SSL_CERT_FILE.",
        )


# ── GPUs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def gpus() -> Iterator[Finding]:
    say, found, usable = Reporter("gpu"), devices.gpus(), devices.cuda_devices()
    if not found and not usable:
        yield say.note("There is no NVIDIA GPU, or no driver for one: models compute on the processor.")
        return
    for gpu in found:
        yield say.ok(f"GPU {gpu.number}: {gpu.name}, {megabytes(gpu.memory_bytes)}, {megabytes(gpu.used_bytes)} in use")
    if not usable:
        yield say.error(
            f"The driver ({devices.driver_version()}) sees a GPU, and CUDA none.",
            "Look at CUDA_VISIBLE_DEVICES; a container needs the NVIDIA container toolkit and --gpus all.",
        )
        return
    yield from _torch(say)
    yield from _libraries(say)
    budget = settings.MODEL_MEMORY_BYTES["cuda"]
    if budget and found and budget > min(gpu.memory_bytes for gpu in found):
        yield say.error(f"MODEL_GPU_MEMORY_MB lets models take {megabytes(budget)} of a GPU.", "Lower it.")


def _torch(say: Reporter) -> Iterator[Finding]:
    """Reads torch's version file: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        yield say.note("torch is not installed: coqui-tts and openai-whisper cannot be used.",
                       "pip install -r requirements-torch.txt")  # fmt: skip
        return
    text = (Path(spec.origin).parent / "version.py").read_text()
    built = re.search(r"^cuda\b[^=]*=\s*'([\d.]+)'", text, re.MULTILINE)
    driver = _driver_cuda()
    if built is None:
        yield say.warning("torch was built without CUDA: its engines compute on the processor.",
                          "pip install -r requirements-torch.txt")  # fmt: skip
    elif driver and int(built[1].split(".")[0]) > driver[0]:
        yield say.error(
            f"torch was built for CUDA {built[1]}; the driver supports up to {driver[0]}.{driver[1]}.",
            "Update the NVIDIA driver, or install torch for an older CUDA.",
        )
    else:
        yield say.ok(f"torch for CUDA {built[1]}, driver {devices.driver_version()}")


def _driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver supports."""
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return None
    return None if failed else (version.value // 1000, version.value % 1000 // 10)


def _libraries(say: Reporter) -> Iterator[Finding]:
    """CTranslate2 looks for cuBLAS of CUDA 12 when its first model loads, and then it is too late for a clear word."""
    try:
        ctypes.CDLL("libcublas.so.12")
    except OSError:
        if importlib.util.find_spec("nvidia.cublas") is None and not _has_wheel("nvidia-cublas-cu12"):
            yield say.warning(
                "libcublas.so.12 is not found: faster-whisper models with device cuda will not load.",
                "pip install nvidia-cublas-cu12 nvidia-cudnn-cu12, and put their lib folders into LD_LIBRARY_PATH.",
            )


def _has_wheel(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
