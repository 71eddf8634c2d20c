"""What goes wrong outside the platform, recognised: a database that does not answer, a storage that is down or full.

None of it is the fault of a request or a job: requests are answered with 503 and may be sent again, jobs wait.
"""

from __future__ import annotations

import errno

from django.db import InterfaceError, OperationalError
from procrastinate.exceptions import ConnectorException

from common import errors
from ml.errors import DiskFull

DATABASE_ERRORS = (OperationalError, InterfaceError, ConnectorException)
"""The last of them where a task cannot be queued."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def recognise(error: BaseException | None) -> errors.ApiError | None:
    """The error to answer with, where `error` is an outage; None where it is anything else."""
    if isinstance(error, errors.Unavailable):
        return error
    if isinstance(error, DATABASE_ERRORS):
        return errors.Unavailable("The database does not answer; try again.", code="database_unavailable")
    if is_full(error):
        return errors.StorageFull("There is no room left for files; try again later.")
    return None


def reason(error: BaseException) -> str:
    """One line for the log, where a traceback of every request of an outage would bury the rest."""
    return " ".join(f"{type(error).__name__}: {error.__cause__ or error}".split())


def is_full(error: BaseException | None) -> bool:
    """Whether a disk, a quota of a file system or an S3 store has no room left."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    answer = getattr(error, "response", None)  # botocore's
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
    return isinstance(error, DiskFull) or status == 507
