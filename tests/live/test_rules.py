"""Where utterances begin and end, and what of an unfinished one is said for good: rules, without an engine."""

from __future__ import annotations

import itertools

from ml.stt import live
from ml.stt.engines.base import Hypothesis
from ml.stt.live.agreement import Agreement
from ml.stt.live.endpointing import Endpointer
from ml.types import Word


def changes(probabilities, **fields) -> list[tuple[int, str]]:
    endpointer = Endpointer(live.Endpointing(**fields), max_seconds=fields.get("max_utterance_seconds", 20.0))
    seen = []
    for place, probability in enumerate(probabilities):
        if change := endpointer.push(probability):
            seen.append((place, change))
            if change == "ended":
                span = endpointer.take()
                seen.append((span.start, span.end))
    return seen


def test_endpoints_of_speech_clicks_and_pauses():
    quiet, loud = [0.0], [0.9]
    assert changes(quiet * 20 + loud * 2 + quiet * 40) == []  # a click
    seen = changes(quiet * 20 + loud * 20 + quiet * 40)
    assert seen == [(23, "started"), (48, "quiet"), (55, "ended"), (20, 40)]
    bridged = changes(quiet * 20 + loud * 20 + quiet * 12 + loud * 20 + quiet * 40)
    assert [change for _, change in bridged[:4]] == ["started", "quiet", "resumed", "quiet"]
    assert bridged[-1] == (20, 72)
    assert changes(quiet * 5 + [0.4] * 30 + quiet * 40) == []  # never sure
    assert changes(quiet * 5 + [0.4] * 5 + loud * 10 + [0.4] * 5 + quiet * 40)[-1] == (5, 25)


def test_windows_begin_with_what_leads_to_the_speech():
    quiet, loud = [0.0], [0.9]

    def starts(lead_seconds: float) -> list[int]:
        endpointer = Endpointer(live.Endpointing(), max_seconds=20.0, lead_seconds=lead_seconds)
        seen = []
        for probability in quiet * 20 + loud * 20 + quiet * 17 + loud * 20 + quiet * 40:
            change = endpointer.push(probability)
            if change == "started":
                seen.append(endpointer.window_start)
            elif change == "ended":
                endpointer.take()
        return seen

    padding, floor = 9, 40 + 9  # frames; the second window begins where the first has ended
    assert starts(0.0) == starts(0.1) == [20 - padding, floor]
    assert starts(0.4) == [20 - 12, floor]


def test_endless_speech_is_ended():
    seen = changes([0.9] * 500, max_utterance_seconds=2.0)
    spans = [pair for pair in seen if isinstance(pair[1], int)]
    assert len(spans) >= 7
    assert all(end - start <= 62 for start, end in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def said(text: str, **more) -> Hypothesis:
    words = tuple(Word(word, index * 0.5, index * 0.5 + 0.4, 0.9) for index, word in enumerate(text.split()))
    return Hypothesis(text, words, 0.9, **more)


def test_agreement_keeps_what_two_agree_on():
    agreement = Agreement()
    assert agreement.update(said("the weather"), 9.0).stable == ""
    assert agreement.update(said("the weather in"), 9.4).stable == "the"
    assert agreement.update(said("the weather in a"), 9.8).stable == "the weather"
    changed = agreement.update(said("a leather in the city"), 10.2)
    assert (changed.stable, changed.text) == ("the weather", "the weather in the city")
    assert agreement.settle(said("The weather, in the city.")).text == "The weather, in the city."
    assert agreement.settle(said("A leather in the city")).text == "the weather in the city"


def test_agreement_waits_for_the_last_moments():
    agreement = Agreement()
    for heard_seconds in (0.2, 0.6, 1.0):
        agreed = agreement.update(said("one two three four"), heard_seconds)
    assert agreed.stable == "one"  # "two" ends at 0.9 s, of 1.0 s heard


def test_agreement_waits_as_long_as_the_engine_may_change_its_mind():
    agreement = Agreement(settled_seconds=4.0)
    for heard_seconds in (3.0, 3.4, 4.0, 4.6):
        agreed = agreement.update(said("one two three four"), heard_seconds)
    assert agreed.stable == "one"  # "two" ended 3.7 s ago


def test_agreement_joins_two_hypotheses_in_time():
    """What is stable ended a little later than the final hypothesis, which says something else there, has it."""
    agreement = Agreement()
    for heard_seconds in (3.0, 3.5):
        agreement.update(said("the weather in"), heard_seconds)
    words = (Word("that", 0.0, 0.8, 0.9), Word("were", 0.87, 1.2, 0.9), Word("a", 1.2, 1.3, 0.9))
    settled = agreement.settle(Hypothesis("that were a", words, 0.9))
    assert settled.text == "the weather were a"
    times = [time for word in settled.words for time in (word.start, word.end)]
    assert times == sorted(times)


def test_agreement_needs_a_while():
    """The same mistake, said twice in a tenth of a second."""
    agreement = Agreement()
    texts = ["a leather in", "a leather in", "the weather in", "the weather in", "the weather in", "the weather in it"]
    stable = [agreement.update(said(text), 9.0 + 0.1 * step).stable for step, text in enumerate(texts)]
    assert stable == [""] * 6
    assert agreement.update(said("the weather in it"), 9.6).stable == "the weather"


def test_agreement_without_word_times_and_without_spaces():
    agreement = Agreement()
    for seconds, text in enumerate(("eins zwei drei", "eins zwei drei vier")):
        agreed = agreement.update(Hypothesis(text, (), 0.9), seconds)
    assert agreed.stable == "eins zwei"
    chinese = Agreement()
    for seconds, text in ((9.0, "天气很"), (9.5, "天气很好")):
        words = tuple(Word(letter, index * 0.2, index * 0.2 + 0.2, 0.9) for index, letter in enumerate(text))
        agreed = chinese.update(Hypothesis(text, words, 0.9), seconds)
    assert (agreed.stable, agreed.text) == ("天气", "天气很好")
