"""espeak-ng in a child process. Imports nothing heavy: it is forked for every utterance.

The library keeps state between utterances in static variables (its pitch flutter, echo, random numbers), so the same
text would sound different after another one, and what one tenant said would leave traces in what the next one hears.
So each utterance is spoken by a fork of the initialised process, which then ends: results depend on nothing but the
request, a crash on hostile text costs that text alone, and whatever the library leaks goes with the fork.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from ml import errors

SAMPLE_RATE = 22050
"""Hertz; of every voice of espeak-ng."""

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, before espeak_Synth returns
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: return an error instead of ending the process
_BUFFER_MILLISECONDS = 2000
_UTF8 = 1
_IPA = 0x02  # espeakPHONEMES_IPA
_PHONEMES = 0x100
_END_PAUSE = 0x1000
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_MAX_BYTES = 128 << 20  # of audio in one call: 50 minutes
_CPU_SECONDS = 20
_SEED = 1  # of the breath noise; the library seeds it with the time of day
_F_SETPIPE_SZ = 1031

_LIST_TERMINATED, _WORD_EVENT, _END_EVENT = 0, 1, 5


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class _Voice(ctypes.Structure):
    """`espeak_VOICE` of speak_lib.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class Synthesizer:
    """One initialised library.

    library: path of the shared library; data: path of the folder `espeak-ng-data`.
    """

    def __init__(self, library: str, data: str) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0
        self._events: list[tuple[int, int, int]] = []  # kind, character of the text, sample
        try:
            self._library = _load(library)
        except OSError as error:
            raise errors.EngineUnavailable("The library of espeak-ng cannot be loaded.") from error
        # The library copies the path into a short buffer; a relative one always fits.
        self._data = Path(data).name
        os.chdir(Path(data).parent)
        if self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MILLISECONDS, b".", _DO_NOT_EXIT) != SAMPLE_RATE:
            raise errors.EngineUnavailable("espeak-ng does not find its voice data.")
        # For names with a capital, "gmw/en-US", the library looks through its list of voices, for which it reads some
        # 250 files; made here, the forks have it.
        self._library.espeak_ListVoices(None)
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def voices(self) -> dict[str, Any]:
        """`{"voices": [...], "variants": [...]}`, each `[name, [language, …], file, gender]`, that can speak."""
        return dict(msgpack.unpackb(self._forked(self._packed_voices)))

    def speak(self, request: dict[str, Any]) -> bytes:
        """Speaks a text; mono, signed 16-bit, `SAMPLE_RATE`.

        request: `voice` (file), `text` (with embedded commands), `rate` (words a minute), `volume` (percent), `pitch`
        and `range` (0–99), `phonemes` (whether `[[…]]` is phonemes), `pause` (whether to end
        with the pause between sentences), maybe `variant` (the text of a variant's file) and `home` (the
        folder of data with room for it), and, done to the finished sound, `tempo` (times faster) and `transpose` (times
        higher).
        """
        return self._forked(lambda: self._synthesize(request))

    def speak_timed(self, request: dict[str, Any]) -> list[Any]:
        """As `speak`, and when: `[pcm, [[character, sample], …] of words, [sample, …] of clauses' ends]`."""
        return list(msgpack.unpackb(self._forked(lambda: self._packed_timed(request))))

    def phonemes(self, voice: str, text: str) -> list[list[str]]:
        """The text clause by clause: `[IPA, what of the text it stands for]`. voice: a voice's file."""
        return list(msgpack.unpackb(self._forked(lambda: self._packed_phonemes(voice, text))))

    def reshape(self, pcm: bytes, sample_rate: int, tempo: float, transpose: float) -> bytes:
        """Another engine's sound, mono and signed 16-bit: `tempo` times faster and `transpose` times higher."""
        return self._forked(lambda: self._reshape(pcm, tempo, transpose, sample_rate))

    def _forked(self, work: Callable[[], bytes]) -> bytes:
        """What `work` returns in a fork of this process."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _work_and_exit(work, writer)
        os.close(writer)
        with open(reader, "rb", buffering=0) as pipe:
            _widen(reader)
            made = pipe.read()
        _, status = os.waitpid(child, 0)
        if status:
            raise errors.EngineFailed(f"espeak-ng failed on this text (status {status}).")
        return made

    def _synthesize(self, request: dict[str, Any]) -> bytes:
        library = self._library
        self._load_voice(request["voice"], request.get("variant"), request.get("home", ""))
        library.espeak_ng_SetRandSeed(_SEED)
        for parameter, value in ((_RATE, "rate"), (_VOLUME, "volume"), (_PITCH, "pitch"), (_RANGE, "range")):
            library.espeak_SetParameter(parameter, request[value], 0)
        flags = _UTF8 | (_PHONEMES if request["phonemes"] else 0) | (_END_PAUSE if request["pause"] else 0)
        text = request["text"].encode()
        if library.espeak_Synth(text, len(text) + 1, 0, 0, 0, flags, None, None) or self._bytes > _MAX_BYTES:
            raise errors.EngineFailed("espeak-ng failed on this text.")
        return self._reshape(b"".join(self._parts), request["tempo"], request["transpose"])

    def _load_voice(self, name: str, variant: str | None, home: str) -> None:
        """variant: the library reads variants from files among its data alone, which it looks for where the process is;
        so this fork, whose own the file is, goes where there are others.
        """
        if variant is None:
            return self._set_voice(name)
        own = f"own{os.getpid()}"
        file = Path(home, self._data, "voices", "!v", own)
        os.chdir(home)
        try:
            file.write_text(variant)
            self._set_voice(f"{name}+{own}")
        finally:
            file.unlink(missing_ok=True)

    def _set_voice(self, name: str) -> None:
        if self._library.espeak_SetVoiceByName(name.encode()):
            raise errors.EngineFailed("espeak-ng cannot load the voice.")

    def _packed_timed(self, request: dict[str, Any]) -> bytes:
        pcm = self._synthesize(request)
        tempo = request["tempo"]
        words = [[at, round(sample / tempo)] for kind, at, sample in self._events if kind == _WORD_EVENT]
        ends = [round(sample / tempo) for kind, _, sample in self._events if kind == _END_EVENT]
        return bytes(msgpack.packb([pcm, words, ends]))

    def _reshape(self, pcm: bytes, tempo: float, transpose: float, sample_rate: int = SAMPLE_RATE) -> bytes:
        """Changes tempo and pitch with Sonic, which the library carries for its own fast speech."""
        if (tempo == 1.0 and transpose == 1.0) or not pcm:
            return pcm
        samples = len(pcm) // 2
        capacity = int(samples / min(tempo, 1.0) * 1.1) + sample_rate
        buffer = (ctypes.c_short * capacity)()
        ctypes.memmove(buffer, pcm, len(pcm))
        made = self._library.sonicChangeShortSpeed(buffer, samples, tempo, transpose, 1.0, 1.0, 0, sample_rate, 1)
        return bytes(memoryview(buffer).cast("B")[: 2 * made])

    def _packed_phonemes(self, voice: str, text: str) -> bytes:
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise errors.EngineFailed("espeak-ng cannot load the voice.")
        written = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_char_p(ctypes.addressof(written))
        clauses: list[list[str]] = []
        while rest.value:  # the library moves the pointer on by a clause, and sets it to NULL at the end
            before = rest.value
            ipa = self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
            after = rest.value or b""
            clauses.append([(ipa or b"").decode(errors="replace"), _consumed(before, after)])
            if len(after) >= len(before):
                break
        return bytes(msgpack.packb(clauses))

    def _receive(self, samples: int | None, count: int, events: Any) -> int:
        """Called by the library with each stretch of samples; a result of 1 stops it."""
        index = 0
        while events and events[index].type != _LIST_TERMINATED:
            event = events[index]
            if event.type in (_WORD_EVENT, _END_EVENT):
                self._events.append((event.type, event.text_position - 1, event.sample))
            index += 1
        if samples and count:
            self._parts.append(ctypes.string_at(samples, 2 * count))
            self._bytes += 2 * count
        return int(self._bytes > _MAX_BYTES)

    def _packed_voices(self) -> bytes:
        speaking = [voice for voice in self._list(None) if self._has_dictionary(voice[2])]
        return bytes(msgpack.packb({"voices": speaking, "variants": self._list(b"variant")}))

    def _has_dictionary(self, file: str) -> bool:
        """Whether the voice can speak: the data lacks the dictionaries of a few, and then every text is silent."""
        text = ctypes.c_char_p(b"a 1")
        if self._library.espeak_SetVoiceByName(file.encode()):
            return False
        return bool(self._library.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, 0))

    def _list(self, language: bytes | None) -> list[list[Any]]:
        wanted = _Voice()
        if language:
            text = ctypes.create_string_buffer(language)
            wanted.languages = ctypes.cast(text, ctypes.c_void_p)
        found = self._library.espeak_ListVoices(ctypes.byref(wanted) if language else None)
        listed: list[list[Any]] = []
        while found[len(listed)]:
            listed.append(_describe(found[len(listed)].contents))
        return listed


def _work_and_exit(work: Callable[[], bytes], writer: int) -> None:
    """In the fork: sends the result through the pipe `writer`."""
    code = 1
    try:
        # The connection to the server too, so that it sees the end of our parent at once.
        os.closerange(3, writer)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the library complains there about texts and voices
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        made = memoryview(work())
        while made:
            made = made[os.write(writer, made) :]
        code = 0
    finally:
        os._exit(code)


def _load(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(path)
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    library.sonicChangeShortSpeed.argtypes = [ctypes.c_void_p, ctypes.c_int, *[ctypes.c_float] * 4, *[ctypes.c_int] * 3]
    return library


def _consumed(before: bytes, after: bytes) -> str:
    return before[: len(before) - len(after)].decode(errors="replace")


def _widen(pipe: int) -> None:
    """A larger pipe saves switches between the processes; where it is not allowed, the usual one does."""
    import fcntl

    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)
    except OSError:
        return


def _describe(voice: _Voice) -> list[Any]:
    return [voice.name.decode(), _languages(voice.languages), voice.identifier.decode(), voice.gender]


def _languages(address: int) -> list[str]:
    """Reads espeak's list: a priority byte and a NUL-terminated name, over and over, ended by a zero byte."""
    languages = []
    while ctypes.string_at(address, 1) != b"\0":
        name = ctypes.string_at(address + 1)
        languages.append(name.decode())
        address += len(name) + 2
    return languages
