"""How soon live speech becomes text: `python -m benchmarks.live_streams [--streams 20] [--seconds 30]`.

Starts a server with a data folder of its own. As many clients as `--streams` says (several numbers: one after the
other) send real recordings (SPEECH_DATA, else those of the repository) over `WS /stt/stream` in real time, 0.1 s at a
time, with pauses of `--pause` seconds between them, and begin at different moments. When speech begins and when a
pause has become an endpoint is computed here, with the server's own rules, before the clock runs. Told are

- the first partial after speech began, and after the first word had been said, as the final has it; apart from these,
  of speech that goes on where an utterance was cut for its length
- the final after the endpoint: after the last piece of sound that the rule needs was sent
- how far the last final is behind the sound when all has been sent (a real-time factor under 1 keeps that short)
- processor seconds of the server for a second of sound, by what used them, and of the clients

Needs an idle machine; it runs in about a minute, or `--seconds` + 15 for each number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.platform_overhead import Server, percentile  # noqa: E402
from ml.audio.decode import SAMPLE_RATE, decode  # noqa: E402
from ml.stt import live  # noqa: E402
from ml.stt.live.endpointing import Endpointer  # noqa: E402
from ml.stt.vad import FRAME_SAMPLES, SpeechDetector  # noqa: E402
from ml.types import PcmSamples  # noqa: E402

PIECE = SAMPLE_RATE // 10
STAGGER_SECONDS = 4.0
END_SECONDS = 30.0
"""For the last finals."""


@dataclass
class Script:
    """What one client says, and what follows from the rules. Places are samples."""

    sound: PcmSamples
    starts: dict[int, int] = field(default_factory=dict)  # of speech, by segment
    cuts: set[int] = field(default_factory=set)  # segments that go on where the one before was cut
    endpoints: dict[int, int] = field(default_factory=dict)  # known when so much has been heard

    @classmethod
    def of(cls, sound: PcmSamples) -> Script:
        script = cls(sound)
        endpointer, segment, cut_at = Endpointer(live.Endpointing(), max_seconds=20.0), -1, None
        for probability in SpeechDetector().push(sound):
            change = endpointer.push(float(probability))
            if change == "started":
                segment += 1
                script.starts[segment] = (endpointer.start or 0) * FRAME_SAMPLES
                if endpointer.start == cut_at:
                    script.cuts.add(segment)
            elif change == "ended":
                script.endpoints[segment] = endpointer.frame * FRAME_SAMPLES
                span = endpointer.take()
                cut_at = span.end if span.cut else None
        return script


@dataclass
class Measured:
    first_partials: list[float] = field(default_factory=list)  # milliseconds
    after_cuts: list[float] = field(default_factory=list)
    first_words: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)  # seconds, at the end
    sound_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def recordings() -> list[PcmSamples]:
    """In English, of three seconds and more, at 16 kHz."""
    folder = Path(os.environ.get("SPEECH_DATA", ROOT.parent / "shared" / "speech"))
    manifest = folder / "clips.jsonl"
    if not manifest.is_file():
        manifest = ROOT / "tests" / "audio" / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    wanted = [row for row in rows if row["language"].startswith("en") and 3 <= row["duration_seconds"] <= 30]
    return [to_pcm(decode(manifest.parent / row["audio"]).samples) for row in wanted]


def to_pcm(samples: np.ndarray) -> PcmSamples:
    return samples if samples.dtype == np.int16 else (np.clip(samples, -1, 1) * 32767).astype(np.int16)


def script(clips: list[PcmSamples], number: int, seconds: float, pause: float) -> Script:
    """The clips in an order of the client's own, with pauses, for about so long."""
    order = np.random.default_rng(number).permutation(len(clips))
    parts: list[PcmSamples] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        for index in order:
            parts += [clips[index], np.zeros(round(pause * SAMPLE_RATE), np.int16)]
    return Script.of(np.concatenate(parts)[: round(seconds * SAMPLE_RATE)])


class Client:
    def __init__(self, said: Script, measured: Measured) -> None:
        self._said, self._measured = said, measured
        self._began = 0.0
        self._spoken: dict[int, float] = {}  # when the first partial of a segment came

    async def run(self, url: str, key: str, wait_seconds: float) -> None:
        await asyncio.sleep(wait_seconds)
        try:
            async with connect(url, additional_headers={"x-api-key": key}, proxy=None, compression=None) as socket:
                await socket.send(json.dumps({"type": "start"}))
                await socket.recv()  # ready: the model is loaded
                hearing = asyncio.create_task(self._hear(socket))
                await self._speak(socket)
                ended = time.perf_counter()
                async with asyncio.timeout(END_SECONDS):
                    await hearing
                self._measured.behind.append(time.perf_counter() - ended)
        except Exception as error:
            self._measured.failures.append(f"{type(error).__name__}: {error}")

    async def _speak(self, socket: ClientConnection) -> None:
        sound = self._said.sound
        self._began = time.perf_counter()
        for start in range(0, len(sound), PIECE):
            late = self._sent_at(min(len(sound), start + PIECE)) - time.perf_counter()
            await asyncio.sleep(max(0.0, late))
            await socket.send(sound[start : start + PIECE].tobytes())
        self._measured.sound_seconds += len(sound) / SAMPLE_RATE
        await socket.send(json.dumps({"type": "stop"}))

    def _sent_at(self, place: int) -> float:
        """When the piece is sent that completes so much sound: a microphone gives it when it has recorded it."""
        return self._began + -(-place // PIECE) * PIECE / SAMPLE_RATE

    async def _hear(self, socket: ClientConnection) -> None:
        async for raw in socket:
            event, now = json.loads(raw), time.perf_counter()
            segment = event.get("segment")
            if event["type"] == "partial" and segment not in self._spoken and segment in self._said.starts:
                self._spoken[segment] = now
                began = self._began + self._said.starts[segment] / SAMPLE_RATE
                measured = self._measured
                partials = measured.after_cuts if segment in self._said.cuts else measured.first_partials
                partials.append(1e3 * (now - began))
            elif event["type"] == "final" and segment in self._said.endpoints:
                if segment in self._spoken and event["words"]:
                    said = self._began + event["words"][0]["end"]
                    self._measured.first_words.append(1e3 * (self._spoken[segment] - said))
                self._measured.finals.append(1e3 * (now - self._sent_at(self._said.endpoints[segment])))
            elif event["type"] == "error":
                self._measured.failures.append(event["error"]["code"])


class Processors:
    """Processor seconds of the server and its children, by what they do."""

    def __init__(self, server: Server) -> None:
        self._server = psutil.Process(server.process.pid)
        self._before: dict[int, float] = {}
        self._before = self._read()[0]
        self._own = sum(psutil.Process().cpu_times()[:2])

    def used(self) -> tuple[Counter[str], float]:
        """Of the server's processes; of this one."""
        seconds, names = self._read()
        by_name: Counter[str] = Counter()
        for pid, total in seconds.items():
            by_name[names[pid]] += total - self._before.get(pid, 0.0)
        return by_name, sum(psutil.Process().cpu_times()[:2]) - self._own

    def _read(self) -> tuple[dict[int, float], dict[int, str]]:
        seconds, names = {}, {}
        for process in (self._server, *self._server.children(recursive=True)):
            try:
                line = " ".join(process.cmdline())
                seconds[process.pid] = sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
            names[process.pid] = "server" if process == self._server else "database" if "postgres" in line else "engine"
        return seconds, names


async def measure(server: Server, key: str, scripts: list[Script]) -> tuple[Measured, Counter[str], float, float]:
    url = f"ws://127.0.0.1:{server.port}/api/v1/stt/stream"
    await Client(Script.of(scripts[0].sound[: 2 * SAMPLE_RATE]), Measured()).run(url, key, 0.0)  # loads the model
    measured, processors, started = Measured(), Processors(server), time.perf_counter()
    waits = [STAGGER_SECONDS * number / len(scripts) for number in range(len(scripts))]
    clients = [Client(said, measured).run(url, key, wait) for said, wait in zip(scripts, waits, strict=True)]
    await asyncio.gather(*clients)
    used, own = processors.used()
    return measured, used, own, time.perf_counter() - started


def report(count: int, measured: Measured, used: Counter[str], own: float, elapsed: float) -> None:
    total, cores = used.total(), os.cpu_count() or 1
    print(f"{count} streams, {measured.sound_seconds:.0f} s of sound in {elapsed:.0f} s")
    print(f"  first partial after speech began   {in_brief(measured.first_partials)}")
    print(f"  first partial after its first word {in_brief(measured.first_words)}")
    print(f"  first partial after a cut          {in_brief(measured.after_cuts)}")
    print(f"  final after the endpoint           {in_brief(measured.finals)}")
    if measured.behind:
        print(f"  end behind the sound               p50 {statistics.median(measured.behind):.2f} s"
              f"  most {max(measured.behind):.2f} s")  # fmt: skip
    parts = "  ".join(f"{name} {seconds / measured.sound_seconds:.4f}" for name, seconds in used.most_common())
    print(f"  processor seconds a second         {total / measured.sound_seconds:.4f}  ({parts})")
    busy, clients = total / elapsed / cores, own / elapsed / cores
    everyone = psutil.cpu_percent()
    print(f"  {cores} cores busy with it              {busy:.0%}, the clients {clients:.0%}, everyone {everyone:.0f}%")
    for failure, times in Counter(measured.failures).items():
        print(f"  FAILED {times} times: {failure}")


def in_brief(milliseconds: list[float]) -> str:
    if not milliseconds:
        return "none"
    return (
        f"p50 {statistics.median(milliseconds):5.0f} ms  p95 {percentile(milliseconds, 0.95):5.0f} ms"
        f"  of {len(milliseconds)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[20])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pause", type=float, default=1.0)
    options = parser.parse_args()
    clips = recordings()
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        server = Server(data_dir)
        try:
            key = server.key()
            for count in options.streams:
                scripts = [script(clips, number, options.seconds, options.pause) for number in range(count)]
                psutil.cpu_percent()
                report(count, *asyncio.run(measure(server, key, scripts)))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
