"""Installing from the catalogue in the background: `installing.pull` with a row that says how far it is."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.actors import Actor
from audit import services as audit
from common import db, errors
from jobs.models import UNFINISHED, JobStatus
from jobs.queue import Later
from ml.errors import Cancelled, MlError
from models_registry import installing, rights, selectors, services
from models_registry.catalogue import catalogue
from models_registry.models import Installation

log = logging.getLogger(__name__)

LATEST = 5
WRITE_SECONDS = 0.5
WRITE_BYTES = 1_000_000
"""When a row's progress is written, and a cancellation noticed: after so long, or after so large a block."""


def request_installation(*, actor: Actor, model: str) -> Installation:
    """Queues the installation of a model of the catalogue, which is activated when it has loaded on trial."""
    from models_registry.tasks import install

    rights.require_operator(actor, "Installing a model")
    if model not in catalogue():
        guess = selectors.did_you_mean(model, catalogue())
        raise errors.NotFound(f"The catalogue has no model {model!r}{guess}.", code="model_not_found", param="model")
    try:
        with transaction.atomic():
            row = Installation.objects.create(
                model=model, requested_by=actor.user, organization=actor.organization, role=actor.role
            )
            audit.record_for_installation(actor=actor, action="model.installation_requested", target=row)
            install.defer(installation_id=str(row.id))
    except IntegrityError:
        raise errors.Conflict(f"{model} is being installed already.", code="installation_running") from None
    return row


def cancel(*, actor: Actor, row: Installation) -> None:
    """Stops it; what was downloaded stays, and the next try continues it."""
    rights.require_operator(actor, "Cancelling an installation")
    ended = {"status": JobStatus.CANCELLED, "finished_at": timezone.now()}
    if not _unfinished(row.id).update(**ended):
        raise errors.Conflict("The installation has ended already.", code="installation_ended")
    audit.record_for_installation(actor=actor, action="model.installation_cancelled", target=row)


def latest() -> list[Installation]:
    """Those under way, and the last that ended."""
    return list(Installation.objects.select_related("version", "requested_by")[:LATEST])


def get(*, installation_id: uuid.UUID) -> Installation:
    row = Installation.objects.filter(id=installation_id).first()
    if row is None:
        raise errors.NotFound("There is no such installation.")
    return row


# ── In a worker ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run(installation_id: uuid.UUID) -> None:
    """Installs and activates; the row says how it went. Raises `Later` where the worker stops meanwhile."""
    try:
        if not _unfinished(installation_id).update(status=JobStatus.PROCESSING):
            return
        row = Installation.objects.select_related("organization", "requested_by").get(id=installation_id)
        try:
            _install(row)
        except _Stopping:
            _unfinished(row.id).update(status=JobStatus.QUEUED)
            raise Later(1) from None
        except Cancelled:
            log.info("an installation was cancelled", extra={"model": row.model})
        except (MlError, errors.ApiError) as error:
            _end(row, JobStatus.FAILED, error_message=error.message)
        except Exception:
            log.exception("a model could not be installed", extra={"model": row.model})
            _end(row, JobStatus.FAILED, error_message="A fault of the server; its log says more.")
    finally:
        connection.close()


def _install(row: Installation) -> None:
    actor = Actor(organization=row.organization, role=row.role, user=row.requested_by) if row.requested_by else None
    version = installing.pull(actor=actor, name=row.model, progress=False, follower=_Follower(row.id))
    version = services.activate(actor=actor, row=version)
    _end(row, JobStatus.SUCCEEDED, version=version, stage="")


class _Stopping(Exception):
    """The worker is being stopped; another goes on where this one was."""


class _Follower:
    """Writes into the row how far it is, and raises Cancelled once the row says so."""

    def __init__(self, installation_id: uuid.UUID) -> None:
        self._rows = _unfinished(installation_id)
        self._fetched = 0
        self._written_at = 0.0

    def planned(self, total_bytes: int) -> None:
        self._write(total_bytes=total_bytes, stage="Downloading")

    def fetched(self, more_bytes: int) -> None:
        self._fetched += more_bytes
        if db.stopping.is_set():
            raise _Stopping
        if more_bytes > WRITE_BYTES or time.monotonic() - self._written_at > WRITE_SECONDS:
            self._write(fetched_bytes=self._fetched)

    def trying(self) -> None:
        self._write(fetched_bytes=self._fetched, stage="Checking and loading on trial")

    def _write(self, **fields: Any) -> None:
        self._written_at = time.monotonic()
        if not self._rows.update(**fields):
            raise Cancelled("The installation was cancelled.")


def _unfinished(installation_id: uuid.UUID) -> QuerySet[Installation]:
    return Installation.objects.filter(id=installation_id, status__in=UNFINISHED)


def _end(row: Installation, status: str, **fields: Any) -> None:
    _unfinished(row.id).update(status=status, finished_at=timezone.now(), **fields)
