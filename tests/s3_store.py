"""A real S3 server, in this process, that can be taken away and brought back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

CREDENTIALS = {"S3_ACCESS_KEY_ID": "test", "S3_SECRET_ACCESS_KEY": "test"}


class Store:
    """What it holds outlasts its absence. Its bucket is its own: all stores of a process share their contents."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.bucket = f"audio-{self.port}"
        self.client.create_bucket(Bucket=self.bucket)

    @property
    def settings(self) -> dict[str, str]:
        """Of a platform that keeps its audio here."""
        return {"S3_BUCKET": self.bucket, "S3_ENDPOINT_URL": self.url, **CREDENTIALS}

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens on its port."""
        self.server.stop()
        try:
            yield
        finally:
            self.server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
            self.server.start()

    def keys(self) -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
