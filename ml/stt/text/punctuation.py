"""Marks between words: by an installed model, or else by pauses and rules.

The rules are honest about what they can hear: speech that ends before a pause ends a sentence, unless its last word
cannot; a longer pause within it is a comma; a sentence that opens like a question is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from ml.stt.engines.base import EngineCapabilities
from ml.stt.helpers import base as helpers
from ml.stt.helpers.base import PunctuationModel
from ml.stt.registry import primary_language
from ml.stt.stages import Recognition, forced, wanted
from ml.stt.text import languages
from ml.stt.text.tokens import UNSPACED_LANGUAGES, split_marks, with_words, words_of
from ml.types import Segment, TranscriptionOptions, Word

SENTENCE_PAUSE_SECONDS = 0.45
"""Windows of the voice activity detector lie at least this far apart, unless long speech was cut."""

COMMA_PAUSE_SECONDS = 0.3
CLAUSE_PAUSE_SECONDS = 0.15  # before a conjunction


@dataclass(frozen=True, slots=True)
class Punctuation:
    name: str = "punctuate"

    def applies(self, capabilities: EngineCapabilities, options: TranscriptionOptions) -> bool:
        return wanted(self.name, options) and (not capabilities.punctuation or forced(self.name, options))

    def run(self, recognition: Recognition, options: TranscriptionOptions) -> Recognition:
        language = primary_language(recognition.language)
        model: PunctuationModel | None = helpers.helper("punctuation", language)
        segments = recognition.segments
        if model is not None:
            return replace(recognition, segments=tuple(_by_model(segment, model) for segment in segments))
        if language in UNSPACED_LANGUAGES:
            return recognition
        return replace(recognition, segments=_by_rules(segments, language))


def _by_rules(segments: tuple[Segment, ...], language: str) -> tuple[Segment, ...]:
    spoken = [words_of(segment) for segment in segments]
    marked: list[Segment] = []
    sentence: list[str] = []  # since the last full stop, over segments that long speech was cut into
    for index, (segment, words) in enumerate(zip(segments, spoken, strict=True)):
        if not words:
            marked.append(segment)
            continue
        sentence = sentence + [word.text.lower() for word in words]
        following = segments[index + 1] if index + 1 < len(segments) else None
        breathed = _with_commas(words, language)
        if _ends_sentence(segment, following, sentence[-1], language):
            breathed = _close(breathed, sentence, language)
            sentence = []
        marked.append(with_words(segment, breathed))
    return tuple(marked)


def _ends_sentence(segment: Segment, following: Segment | None, last_word: str, language: str) -> bool:
    if following is None:
        return True
    if following.speaker != segment.speaker:
        return True
    pause = following.start - segment.end
    return pause >= SENTENCE_PAUSE_SECONDS and last_word not in languages.OPEN_WORDS.get(language, ())


def _with_commas(words: list[Word], language: str) -> list[Word]:
    comma = languages.COMMAS.get(language, ",")
    open_words, breath_words = languages.OPEN_WORDS.get(language, ()), languages.BREATH_WORDS.get(language, ())
    marked = []
    for word, following in zip(words, [*words[1:], None], strict=True):
        mark = ""
        if following is not None and word.text.lower() not in open_words and word.text[-1:].isalnum():
            enough = CLAUSE_PAUSE_SECONDS if following.text.lower() in breath_words else COMMA_PAUSE_SECONDS
            mark = comma if following.start - word.end >= enough else ""
        marked.append(replace(word, text=word.text + mark))
    return marked


def _close(words: list[Word], sentence: list[str], language: str) -> list[Word]:
    last = words[-1]
    if split_marks(last.text)[2]:
        return words
    asked = languages.is_question(sentence, language)
    mark = languages.QUESTION_MARKS.get(language, "?") if asked else languages.FULL_STOPS.get(language, ".")
    closed = [*words[:-1], replace(last, text=last.text + mark)]
    if asked and language == "es" and len(sentence) == len(words):
        closed[0] = replace(closed[0], text="¿" + closed[0].text)
    return closed


def _by_model(segment: Segment, model: PunctuationModel) -> Segment:
    """The model's words replace ours where they are the same but for marks and case: it may not change words."""
    words = words_of(segment)
    if words is None:
        text = model.punctuate(segment.text)
        return replace(segment, text=text) if _letters(text) == _letters(segment.text) else segment
    if not words:
        return segment
    marked = _join_marks(model.punctuate(segment.text).split())
    if [_letters(word) for word in marked] == [_letters(word.text) for word in words]:
        return with_words(segment, [replace(word, text=text) for word, text in zip(words, marked, strict=True)])
    matcher = SequenceMatcher(None, [_letters(w.text) for w in words], [_letters(m) for m in marked], autojunk=False)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            words[block.a + offset] = replace(words[block.a + offset], text=marked[block.b + offset])
    return with_words(segment, words)


def _join_marks(texts: list[str]) -> list[str]:
    """A mark that stands alone belongs to the word before it."""
    joined: list[str] = []
    for text in texts:
        if joined and not _letters(text):
            joined[-1] += text
        else:
            joined.append(text)
    return joined


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
