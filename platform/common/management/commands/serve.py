"""manage.py serve: everything in one process, as `make run` starts it."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from accounts.management.commands.seed import default_password_in_use
from accounts.models import Organization
from common import serving
from ml import stt, tts
from sockets.consumer import drain_all


class Command(BaseCommand):
    help = (
        "Migrates, seeds on the first run, and serves the API, the dashboard and the engines. With --no-setup it only "
        "serves: where a release migrates once, and several servers run beside each other."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--no-setup", action="store_true", help="Neither migrate nor seed nor greet.")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        listener = _listen(host, port)
        if not options["no_setup"]:
            self._set_up()
            self._greet(host, port)
        connections.close_all()
        config = uvicorn.Config(
            "config.asgi:application",
            lifespan="on",
            proxy_headers=False,
            timeout_graceful_shutdown=settings.DRAIN_SECONDS + 5,
            **serving.options(),
        )
        # uvicorn sends itself the signal again when it has shut down; turned into an exit, it lets the embedded
        # database and the engines' processes be stopped too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config).run(sockets=[listener])

    def _set_up(self) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        if not Organization.objects.exists():
            call_command("seed", stdout=open(os.devnull, "w"), stderr=open(os.devnull, "w"))  # noqa: SIM115

    def _greet(self, host: str, port: int) -> None:
        url = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0', '::') else host}:{port}"  # noqa: S104
        default = default_password_in_use()
        password = settings.SEED_PASSWORD if default else "(as you set it)"
        recognisers = ", ".join(model.name for model in stt.models())
        lines = [
            "",
            f"  Dashboard   {url}/dashboard      Admin  {url}/admin/",
            f"  API docs    {url}/api/v1/docs",
            f"  Log in      {settings.SEED_EMAIL} / {password}",
            f"  Engines     speaks {len(tts.voices())} languages (espeak-ng); hears with {recognisers}",
        ]
        if default:
            lines.append(
                "  Warning     the default password is in use: manage.py changepassword " + settings.SEED_EMAIL
            )
        lines += ["", "  Ctrl-C stops everything; the data stays in " + str(settings.DATA_DIR), ""]
        self.stdout.write("\n".join(lines))
        sys.stdout.flush()


class _Server(uvicorn.Server):
    """uvicorn closes sockets first and tells the application later; ours get to say what was heard until now."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await drain_all(settings.DRAIN_SECONDS)
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket, taken before anything else so that a taken port is known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise CommandError(
            f"Port {port} on {host} cannot be used ({error.strerror}); try PORT={port + 1} make run."
        ) from None
    return listener
