"""What a child process gives up before it looks at a hostile file: new privileges, the network, other processes.

    confine(write_beneath="/tmp")

Nothing of it needs rights. Where the kernel lacks a part (another system than Linux, an old kernel, a container that
forbids it), the rest holds. The seccomp filter answers what it refuses with EPERM, so that a library that merely tries
gets an ordinary error; Landlock keeps writing to one folder. What stays possible is reading files of the same user,
which decoding by path needs: deployments narrow that down (docs/security.md).

Sources: seccomp(2), landlock(7), <linux/audit.h>; system calls by number from the kernel's syscall tables.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from dataclasses import dataclass

MAX_FILES = 128
MAX_FILE_BYTES = 1 << 30
"""More than PCM of the longest recording: 4 h of 16 kHz are 460 MB."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class _Calls:
    """System calls of an architecture, by number."""

    audit: int
    clone: int
    refused: tuple[int, ...]
    clone3: int = 435


_SHARED = (424, 425, 426, 427, 438)  # pidfd_send_signal, io_uring_setup, …_enter, …_register, pidfd_getfd
_ARCHITECTURES = {
    "x86_64": _Calls(
        audit=0xC000003E,
        clone=56,
        refused=(
            41, 42, 43, 49, 50, 53, 288,  # socket, connect, accept, bind, listen, socketpair, accept4
            57, 58, 59, 322,  # fork, vfork, execve, execveat
            62, 101, 310, 311,  # kill, ptrace, process_vm_readv, process_vm_writev
            155, 161, 165, 166, 272, 304, 308,  # pivot_root, chroot, mount, umount2, unshare, open_by_handle_at, setns
            175, 246, 248, 249, 250, 298, 313, 320, 321, 323,  # modules, kexec, keys, perf, bpf, userfaultfd
            *_SHARED,
        ),
    ),
    "aarch64": _Calls(
        audit=0xC00000B7,
        clone=220,
        refused=(
            198, 199, 200, 201, 202, 203, 242,  # socket, socketpair, bind, listen, accept, connect, accept4
            221, 281,  # execve, execveat
            129, 117, 270, 271,  # kill, ptrace, process_vm_readv, process_vm_writev
            39, 40, 41, 51, 97, 265, 268,  # umount2, mount, pivot_root, chroot, unshare, open_by_handle_at, setns
            104, 105, 217, 218, 219, 241, 273, 280, 282, 294,  # as above
            *_SHARED,
        ),
    ),
}  # fmt: skip


def confine(*, write_beneath: str) -> list[str]:
    """Gives up what this process may, for good; the names of what took hold.

    write_beneath: the one folder in which files may still be opened for writing.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    held = ["limits"]
    if sys.platform != "linux":
        return held
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held.append("no_new_privileges")
        held += ["landlock"] if _keep_writing_to(libc, write_beneath) else []
        held += ["seccomp"] if _refuse_calls(libc) else []
    return held


# ── System calls ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _refuse_calls(libc: ctypes.CDLL) -> bool:
    calls = _ARCHITECTURES.get(platform.machine())
    if calls is None:
        return False
    instructions = _filter(calls)
    program = _Program(len(instructions) // 8, instructions)
    return libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0


def _filter(calls: _Calls) -> bytes:
    """A BPF program: EPERM for what is refused, threads but no processes, everything else as it was."""
    first = 5  # of the tests for refused calls
    clone = first + len(calls.refused)
    eperm, allow, enosys = clone + 3, clone + 4, clone + 5

    def jump(at: int, code: int, value: int, yes: int, no: int) -> bytes:
        return struct.pack("=HBBI", code, yes - at - 1, no - at - 1, value)

    def plain(code: int, value: int) -> bytes:
        return struct.pack("=HBBI", code, 0, 0, value)

    lines = [
        plain(_LOAD, _ARCHITECTURE),
        jump(1, _EQUAL, calls.audit, 2, eperm),
        plain(_LOAD, _NUMBER),
        jump(3, _AT_LEAST, _X32, eperm, 4),
        jump(4, _EQUAL, calls.clone3, enosys, first),  # its flags lie in memory: the C library then takes clone
        *(jump(at, _EQUAL, number, eperm, at + 1) for at, number in enumerate(calls.refused, first)),
        jump(clone, _EQUAL, calls.clone, clone + 1, allow),
        plain(_LOAD, _FIRST_ARGUMENT),
        jump(clone + 2, _HAS_BITS, _CLONE_THREAD, allow, eperm),
        plain(_RETURN, _EPERM),
        plain(_RETURN, _ALLOW),
        plain(_RETURN, _ENOSYS),
    ]
    return b"".join(lines)


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # and: remove and make entries of folders


def _keep_writing_to(libc: ctypes.CDLL, folder: str) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if version < 1:
        return False
    handled = _CHANGES | (_TRUNCATE if version >= 3 else 0)
    attributes = ctypes.create_string_buffer(struct.pack("=Q", handled), 8)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, 8, 0)
    if ruleset < 0:
        return False
    beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", handled & (_WRITE_FILE | _TRUNCATE), beneath), 12)
        added = libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
        return added == 0 and libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(beneath)
        os.close(ruleset)
