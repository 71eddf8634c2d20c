"""What uvicorn serves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [path for path in (str(Path(__file__).resolve().parents[1]),) if path not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.asgi import get_asgi_application  # noqa: E402

http = get_asgi_application()

from common.asgi import BodyLimit  # noqa: E402  (after Django is set up)

application = BodyLimit(http)
