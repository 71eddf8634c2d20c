"""The cache that processes share, without which each still works: Redis, or this process's memory while it is away."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""So long nobody asks a Redis that did not answer: requests must not each wait for it."""


class PatientRedisCache(RedisCache):
    """Django's, for counters and hints: what cannot be asked of Redis is asked of this process's memory.

    Limits then hold in each process by itself, as without Redis; nothing is refused, and nothing is unlimited.
    """

    _away_until: ClassVar = 0.0  # Django makes an instance a thread

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._memory = LocMemCache("while-redis-is-away", {"OPTIONS": {"MAX_ENTRIES": 200_000}})

    def add(self, *args: Any, **options: Any) -> Any:
        return self._ask("add", *args, **options)

    def get(self, *args: Any, **options: Any) -> Any:
        return self._ask("get", *args, **options)

    def set(self, *args: Any, **options: Any) -> Any:
        return self._ask("set", *args, **options)

    def incr(self, *args: Any, **options: Any) -> Any:
        return self._ask("incr", *args, **options)

    def touch(self, *args: Any, **options: Any) -> Any:
        return self._ask("touch", *args, **options)

    def delete(self, *args: Any, **options: Any) -> Any:
        return self._ask("delete", *args, **options)

    def has_key(self, *args: Any, **options: Any) -> Any:
        return self._ask("has_key", *args, **options)

    def _ask(self, method: str, *args: Any, **options: Any) -> Any:
        kind = PatientRedisCache
        if time.monotonic() >= kind._away_until:
            try:
                answer = getattr(RedisCache, method)(self, *args, **options)
            except (RedisConnectionError, RedisTimeoutError) as error:
                if not kind._away_until:
                    log.warning("Redis does not answer; each process counts by itself", extra={"reason": str(error)})
                kind._away_until = time.monotonic() + RETRY_SECONDS
            else:
                if kind._away_until:
                    kind._away_until = 0.0
                    log.warning("Redis answers again")
                return answer
        return getattr(self._memory, method)(*args, **options)
