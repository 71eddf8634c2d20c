"""A pytest plugin (`-p tests.environment`): settles paths and variables before Django's settings are read.

Tests have a data folder, and so an embedded PostgreSQL, of their own; a developer's `.env` and data are not touched.
TEST_DATABASE_URL runs them on another PostgreSQL.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Until `conftest.pytest_collection_finish`: what imports and collecting make stays to the end.
gc.disable()

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

DATA_DIR = Path(tempfile.mkdtemp(prefix="speech-tests-"))
# Registered before the embedded PostgreSQL registers its own end, and so run after it.
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)


def _shared() -> Path:
    """The same folder in all processes of a run: they inherit the variable from the first, which removes it."""
    if "TESTS_SHARED_DIR" not in os.environ:
        os.environ["TESTS_SHARED_DIR"] = tempfile.mkdtemp(prefix="speech-tests-shared-")
        atexit.register(shutil.rmtree, os.environ["TESTS_SHARED_DIR"], ignore_errors=True)
    return Path(os.environ["TESTS_SHARED_DIR"])


SHARED = _shared()

os.environ.update(
    DJANGO_SETTINGS_MODULE="config.settings",
    ENV_FILE=os.devnull,
    ENVIRONMENT="development",
    DATA_DIR=str(DATA_DIR),
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL", ""),
    REDIS_URL="",
    S3_BUCKET="",
    SECRET_KEY="tests-only-" + "x" * 50,
    # Every test comes from a client address of its own (see conftest.Client), so failed log-ins do not add up.
    TRUSTED_PROXIES="1",
    LOG_LEVEL="WARNING",
    # Several processes share the cores, and a thread that waits for its share of a tiny matrix waits busily.
    OMP_NUM_THREADS="1",
)
