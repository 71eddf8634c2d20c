"""The clients of `mixed_load.py`: what each does over and over, and what it counts as an answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from ml.audio.decode import SAMPLE_RATE, decode
from tests.browser import Browser
from tests.platform_process import ROOT

CLIP = ROOT / "tests" / "audio" / "weather.flac"
SENTENCE = "The committee will meet on Thursday to discuss the new budget and the plans for the coming year. "
TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.25
ENDED = ("succeeded", "failed", "cancelled")
PAGE = re.compile(r'href="(/dashboard(?:/[a-z-]+)*)"')


class Failed(Exception):
    """The answer was not what it should be."""


@dataclass(frozen=True)
class Keys:
    """Of one organisation; each key has one scope."""

    tts: str
    stt: str


class Person:
    """Somebody of an organisation, for one thread. Methods return the seconds that count; None: all of their time."""

    def __init__(self, url: str, keys: Keys, *, stranger: Keys) -> None:
        """stranger: of another organisation, whose jobs must not be seen."""
        self._sockets = f"{url.replace('http', 'ws', 1)}/api/v1"
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=TIMEOUT_SECONDS, trust_env=False)
        self._keys, self._stranger = keys, stranger
        self._number, self._forbidden = 0, ""

    def speaks_shortly(self) -> None:
        self._ask("/tts/synthesize", self._keys.tts, json={"text": self._text(100)})

    def speaks_long(self) -> None:
        self._ask("/tts/synthesize", self._keys.tts, json={"text": self._text(2_000), "format": "mp3"})

    def hears_a_stream(self) -> float:
        """To the first sound; the whole is heard."""
        body = {"text": self._text(2_000), "format": "pcm", "stream": True}
        started, first, received = time.perf_counter(), 0.0, 0
        headers = {"x-api-key": self._keys.tts}
        with self._http.stream("POST", "/tts/synthesize", json=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise Failed(f"{answer.status_code} {answer.read()[:200]!r}")
            for piece in answer.iter_raw():
                first = first or time.perf_counter()
                received += len(piece)
        if received < SAMPLE_RATE * 2 * 60:
            raise Failed(f"only {received} bytes of two minutes")
        return first - started

    def transcribes(self) -> None:
        if not self._ask("/stt/transcribe", self._keys.stt, files=self._recording())["text"]:
            raise Failed("no text")

    def queues_a_text(self) -> float:
        return self._queued("tts", self._keys.tts, json={"text": self._text(400), "async": True})

    def queues_a_recording(self) -> float:
        return self._queued("stt", self._keys.stt, files=self._recording(), data={"async": "true"})

    def is_heard_live(self) -> float:
        """In real time; from the end of the sound to the end of the session."""
        with decode(CLIP) as audio:
            sound = audio.samples
        with self._socket("/stt/stream", self._keys.stt) as socket:
            socket.send(json.dumps({"type": "start"}))
            self._until(socket, "ready")
            piece, began = SAMPLE_RATE // 10, time.perf_counter()
            for start in range(0, len(sound), piece):
                time.sleep(max(0.0, began + (start + piece) / SAMPLE_RATE - time.perf_counter()))
                socket.send(sound[start : start + piece].tobytes())
            stopped = time.perf_counter()
            socket.send(json.dumps({"type": "stop"}))
            events = self._until(socket, "closed")
        if not any(event["type"] == "final" and event["text"] for event in events):
            raise Failed("no final")
        return time.perf_counter() - stopped

    def is_spoken_to_live(self) -> float:
        """From a sentence to its first sound."""
        with self._socket("/tts/stream", self._keys.tts) as socket:
            socket.send(json.dumps({"type": "start", "format": "pcm"}))
            self._until(socket, "ready")
            started = time.perf_counter()
            socket.send(json.dumps({"type": "speak", "text": self._text(200)}))
            while not isinstance(message := socket.recv(TIMEOUT_SECONDS), bytes):
                if json.loads(message)["type"] == "error":
                    raise Failed(message)
            first = time.perf_counter()
            socket.send(json.dumps({"type": "stop"}))
            self._until(socket, "closed")
        return first - started

    def trespasses(self) -> None:
        """Asks for another organisation's job, and beyond the key's scope."""
        if not self._forbidden:
            body = {"text": self._text(50)}
            self._forbidden = self._ask("/tts/synthesize", self._stranger.tts, json=body)["job_id"]
        self._ask(f"/tts/jobs/{self._forbidden}", self._keys.tts, method="GET", status=404)
        self._ask("/stt/transcribe", self._keys.tts, status=403, files=self._recording())

    def _text(self, length: int) -> str:
        """Another one each time, so that nothing that was kept can answer."""
        self._number += 1
        return (f"Number {self._number}. " + SENTENCE * (length // len(SENTENCE) + 1))[:length]

    def _recording(self) -> dict[str, tuple[str, bytes]]:
        return {"audio_file": (CLIP.name, CLIP.read_bytes())}

    def _ask(self, path: str, key: str, *, method: str = "POST", status: int = 200, **request: Any) -> dict[str, Any]:
        answer = self._http.request(method, path, headers={"x-api-key": key}, **request)
        if answer.status_code != status:
            raise Failed(f"{answer.status_code} {answer.text[:200]}")
        return answer.json()

    def _queued(self, kind: str, key: str, **request: Any) -> float:
        """From the row's making to its end, by the server's clock: asking for it now and then is not counted."""
        path = "/tts/synthesize" if kind == "tts" else "/stt/transcribe"
        job = self._ask(path, key, status=202, **request)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while job["status"] not in ENDED:
            if time.monotonic() > deadline:
                raise Failed(f"still {job['status']} after {TIMEOUT_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
            job = self._ask(f"/{kind}/jobs/{job['job_id']}", key, method="GET")
        if job["status"] != "succeeded":
            raise Failed(json.dumps(job.get("error")))
        created, finished = (datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
        return (finished - created).total_seconds()

    def _socket(self, path: str, key: str) -> ClientConnection:
        return connect(f"{self._sockets}{path}", additional_headers={"x-api-key": key}, proxy=None, compression=None)

    def _until(self, socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
        """The events up to the first of this kind; sound is passed over."""
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] != kind:
            message = socket.recv(TIMEOUT_SECONDS)
            if isinstance(message, bytes):
                continue
            events.append(json.loads(message))
            if events[-1]["type"] == "error":
                raise Failed(message)
        return events


class Reader:
    """Somebody at the dashboard, who opens one page of the side bar after the other."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self._browser = Browser(url)
        answer = self._browser.sign_in(email, password)
        if answer.status_code != 302:
            raise Failed(f"{answer.status_code} at the dashboard's door")
        self._pages = sorted(set(PAGE.findall(self._browser.get("/dashboard").text)) - {"/dashboard/logout"})
        self._number = 0

    def opens_a_page(self) -> None:
        page = self._pages[self._number % len(self._pages)]
        self._number += 1
        answer = self._browser.get(page)
        if answer.status_code != 200:
            raise Failed(f"{answer.status_code} {page}")


@dataclass(frozen=True)
class Loop:
    """kind: as the report calls it. pause: seconds between two requests."""

    kind: str
    action: Callable[[], float | None]
    pause: float


def loops(url: str, organizations: list[Keys], email: str, password: str) -> list[Loop]:
    """For three organisations: what all of them do, and what one or two do."""

    def person(number: int) -> Person:
        return Person(url, organizations[number], stranger=organizations[(number + 1) % len(organizations)])

    every = [
        loop
        for number in range(len(organizations))
        for loop in (
            Loop("synthesis, 100 characters", person(number).speaks_shortly, 0.5),
            Loop("queued synthesis, to its end", person(number).queues_a_text, 1.0),
            Loop("not theirs (404, 403)", person(number).trespasses, 2.0),
        )
    ]
    return [
        *every,
        Loop("synthesis, 2,000 characters", person(0).speaks_long, 1.0),
        Loop("streamed synthesis, to the first sound", person(1).hears_a_stream, 1.0),
        Loop("spoken socket, to the first sound", person(2).is_spoken_to_live, 1.0),
        Loop("transcription, 5 s", person(0).transcribes, 4.0),
        Loop("transcription, 5 s", person(1).transcribes, 4.0),
        Loop("queued transcription, to its end", person(2).queues_a_recording, 4.0),
        Loop("heard socket, to its end", person(1).is_heard_live, 1.0),
        Loop("page of the dashboard", Reader(url, email, password).opens_a_page, 0.5),
    ]
