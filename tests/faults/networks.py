"""Machines of one's own: network namespaces, each with one cable to this machine, which can be pulled."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_IP = "/sbin/ip"
_numbers = itertools.count(1)


class Machine:
    """10.213.N.2, behind 10.213.N.1 of this machine."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.name, self._cable = f"speech{os.getpid()}-{number}", f"sp{os.getpid() % 100000}n{number}"
        self.gateway, self.address = f"10.213.{number}.1", f"10.213.{number}.2"

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before a command that is to run on it."""
        return _IP, "netns", "exec", self.name

    def connect(self) -> None:
        _ip("netns", "add", self.name)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("address", "add", f"{self.gateway}/30", "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        for command in (f"address add {self.address}/30 dev eth0", "link set eth0 up", "link set lo up"):
            _ip("-n", self.name, *command.split())

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Nothing gets through, and nobody is told: as when a cable is pulled."""
        _ip("link", "set", self._cable, "down")
        try:
            yield
        finally:
            _ip("link", "set", self._cable, "up")

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self._cable)
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", self.name)


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Always removed. Skips the test where the kernel, or the lack of rights, does not allow them."""
    _remove_left_over()
    made = [Machine() for _ in range(count)]
    try:
        for machine in made:
            try:
                machine.connect()
            except (subprocess.CalledProcessError, FileNotFoundError) as error:
                pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', error)}")
        yield made
    finally:
        for machine in made:
            machine.remove()


def _remove_left_over() -> None:
    """Those of tests that were killed have the addresses that these are to have."""
    with suppress(subprocess.CalledProcessError, FileNotFoundError):
        for line in _ip("netns", "list").splitlines():
            of_test = re.match(r"speech(\d+)-\d+", line)
            if of_test and not Path(f"/proc/{of_test[1]}").exists():
                _ip("netns", "delete", of_test[0])


def _ip(*arguments: str) -> str:
    return subprocess.run([_IP, *arguments], check=True, capture_output=True, text=True).stdout
