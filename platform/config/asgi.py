"""What uvicorn serves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [path for path in (str(Path(__file__).resolve().parents[1]),) if path not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402

django.setup()

from common.asgi import BodyLimit  # noqa: E402  (after Django is set up)
from common.handler import ThreadedHandler  # noqa: E402

application = BodyLimit(ThreadedHandler())
