"""The module that Django's `ENGINE` setting names: PostgreSQL, started on the first connection."""

from __future__ import annotations

from typing import Any

from config.embedded_postgres import socket_directory
from config.postgres import base


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        host = socket_directory(self.settings_dict["EMBEDDED_DATA_DIR"])
        self.settings_dict.update({"HOST": host, "USER": "postgres"})
        return super().get_connection_params()
