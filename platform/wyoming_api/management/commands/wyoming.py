"""manage.py wyoming: Home Assistant's protocol, a port an organisation."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from accounts.models import Organization
from common import db, errors, lifetime, outages
from common.concurrency import in_thread
from jobs.monitor import monitor
from models_registry import runtime
from wyoming_api import identity
from wyoming_api.server import Port, Server, check

log = logging.getLogger("wyoming")

MAKE_A_KEY = "Make one on the page /dashboard/api-keys, with the scopes stt and tts."


class Command(BaseCommand):
    help = (
        "Serves the Wyoming protocol, which Home Assistant speaks. The protocol knows no credentials: whoever reaches "
        "a port works in the name of its API key, whose scopes, limits and usage count."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--uri", default="tcp://127.0.0.1:10300", help="tcp://host:port or unix:///path (default %(default)s)."
        )
        parser.add_argument("--organization", metavar="SLUG", help="Whose port it is.")
        parser.add_argument(
            "--api-key",
            metavar="ID",
            default=settings.WYOMING_API_KEY,
            help="The id or the prefix of the API key in whose name the port works (default: WYOMING_API_KEY).",
        )
        parser.add_argument(
            "--listen",
            nargs=3,
            action="append",
            default=[],
            metavar=("URI", "SLUG", "ID"),
            help="A further port, of this organisation and key. May be repeated.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = [tuple(each) for each in options["listen"]]
        if options["organization"]:
            if not options["api_key"]:
                raise CommandError(f"--api-key, or WYOMING_API_KEY, must name an API key. {MAKE_A_KEY}")
            wanted.insert(0, (options["uri"], options["organization"], options["api_key"]))
        if not wanted:
            raise CommandError("--organization SLUG says whose port it is.")
        ports = [_port(*each) for each in wanted]
        connection.close()
        for port in ports:
            self.stdout.write(f"Wyoming: {port.uri} for {port.identity.organization}.")
        self.stdout.flush()
        lifetime.has_started()
        try:
            asyncio.run(_serve(ports))
        except OSError as error:
            raise CommandError(f"A port cannot be used: {error}") from None
        finally:
            runtime.current.stop()


def _port(uri: str, organization: str, key: str) -> Port:
    try:
        check(uri)
        if not Organization.objects.filter(slug=organization, is_active=True).exists():
            raise CommandError(f"There is no organisation {organization!r}.")
        return Port(uri, identity.find(organization=organization, key=key))
    except ValueError as error:
        raise CommandError(str(error)) from None
    except errors.NotAuthenticated as error:
        raise CommandError(f"{error.message} {MAKE_A_KEY}") from None
    except outages.DATABASE_ERRORS as error:
        raise CommandError(f"The database does not answer: {outages.reason(error)}") from None


async def _serve(ports: list[Port]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting = asyncio.ensure_future(in_thread(_start_models))
    await Server().serve(ports, stop)
    await starting
    db.stopping.set()
    monitor.stop_all()


def _start_models() -> None:
    try:
        runtime.current.start(kind=identity.KIND)
    except outages.DATABASE_ERRORS as error:
        log.warning("the models could not be read yet; the first request tries again: %s", outages.reason(error))
