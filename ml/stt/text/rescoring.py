"""Language-model rescoring: of what a window may have said, the likeliest by sound and by language together.

An engine offers alternatives with scores of its own; an n-gram model of the language and the request's hotwords are
added to these, and the best sum wins (log-linear interpolation, as in Ostendorf et al., "Integration of Diverse
Recognition Methodologies Through Reevaluation of N-Best Sentence Hypotheses", 1991).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from ml.stt.engines.base import EngineCapabilities, Hypothesis
from ml.stt.helpers import base as helpers
from ml.stt.helpers.base import LanguageModel
from ml.stt.stages import wanted
from ml.stt.text.tokens import split_marks
from ml.types import TranscriptionOptions, Word

HOTWORD_BONUS = 3.0  # natural logarithm, a word of a hotword phrase: e^3 = 20 times likelier
ALTERNATIVES = 20
"""How many an engine is asked for."""

_REPLACED_CONFIDENCE = 0.5  # times the confidence of what a word replaced: it was the less likely by sound


def alternatives_wanted(capabilities: EngineCapabilities, language: str, options: TranscriptionOptions) -> int:
    """How many alternatives to ask an engine for: 0 where nothing would be done with them.

    language: ISO 639-1.
    """
    if not capabilities.alternatives or not wanted("rescore", options):
        return 0
    hotwords = bool(options.hotwords) and not capabilities.hotwords
    return ALTERNATIVES if hotwords or helpers.installed("lm", language) else 0


def rescore(
    hypotheses: Sequence[Hypothesis], language: str, options: TranscriptionOptions, capabilities: EngineCapabilities
) -> tuple[Hypothesis, ...]:
    """One hypothesis for each, with the times of the engine's own best."""
    model: LanguageModel | None = helpers.helper("lm", language)
    hotwords = () if capabilities.hotwords else tuple(phrase.lower().split() for phrase in options.hotwords)
    return tuple(_best(hypothesis, model, hotwords) for hypothesis in hypotheses)


def _best(hypothesis: Hypothesis, model: LanguageModel | None, hotwords: Sequence[list[str]]) -> Hypothesis:
    if not hypothesis.alternatives:
        return hypothesis
    # An engine may choose by more than these scores (a lattice's posteriors): its own choice counts as their best.
    others = [other for other in hypothesis.alternatives if other.text != hypothesis.text]
    own = replace(hypothesis, score=max(other.score or 0.0 for other in hypothesis.alternatives))
    candidates = [own, *others]
    sentences = [_spoken(candidate.text) for candidate in candidates]
    language = model.score(sentences) if model else [0.0] * len(candidates)
    totals = [
        (candidate.score or 0.0) + added + HOTWORD_BONUS * _hits(words, hotwords)
        for candidate, words, added in zip(candidates, sentences, language, strict=True)
    ]
    best = totals.index(max(totals))  # the first of equals, which is the engine's own
    return _align(hypothesis, candidates[best]) if best else hypothesis


def _spoken(text: str) -> list[str]:
    """Its words as a language model knows them: without case and the marks around them."""
    return [core for word in text.lower().split() if (core := split_marks(word)[1])]


def _hits(words: list[str], phrases: Sequence[list[str]]) -> int:
    """Words of phrases that are said, each time that they are."""
    return sum(
        len(phrase)
        for phrase in phrases
        for at in range(len(words) - len(phrase) + 1)
        if phrase and words[at : at + len(phrase)] == phrase
    )


def _align(heard: Hypothesis, chosen: Hypothesis) -> Hypothesis:
    """The chosen words with times: their own, or else those of the words that they are or replace."""
    if chosen.words:
        return replace(chosen, alternatives=heard.alternatives)
    texts = chosen.text.split()
    matcher = SequenceMatcher(None, [word.text for word in heard.words], texts, autojunk=False)
    words: list[Word] = []
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind == "equal":
            words += heard.words[start:end]
        else:
            words += _spread(texts[first:last], heard.words, start, end)
    seconds = sum(word.end - word.start for word in words)
    confidence = sum(word.confidence * (word.end - word.start) for word in words) / seconds if seconds else 0.0
    return replace(heard, text=chosen.text, words=tuple(words), confidence=confidence, score=chosen.score)


def _spread(texts: list[str], heard: Sequence[Word], start: int, end: int) -> list[Word]:
    """New words over the time of those that they replace, or at the edge where they came in; by length."""
    if not texts:
        return []
    if end > start:
        begin, stop = heard[start].start, heard[end - 1].end
        confidence = _REPLACED_CONFIDENCE * min(word.confidence for word in heard[start:end])
    else:
        begin = stop = heard[start - 1].end if start else (heard[0].start if heard else 0.0)
        confidence = _REPLACED_CONFIDENCE * (min((word.confidence for word in heard), default=0.0))
    letters = [len(text) for text in texts]
    edges = [begin + (stop - begin) * sum(letters[:index]) / sum(letters) for index in range(len(letters) + 1)]
    return [Word(text, a, b, confidence) for text, a, b in zip(texts, edges[:-1], edges[1:], strict=True)]
