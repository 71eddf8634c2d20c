import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ml.stt
from ml import errors
from ml.stt.subtitles import render, to_cues, to_srt, to_txt, to_vtt
from ml.types import Segment, Word
from tests.ml.stt_support import owned_clips


def spoken(text, start=0.0, seconds_a_word=0.5, **fields):
    words = tuple(
        Word(word, start + index * seconds_a_word, start + (index + 1) * seconds_a_word, 0.9)
        for index, word in enumerate(text.split())
    )
    return Segment(start, words[-1].end, text, 0.9, words, **fields)


def test_srt():
    segments = [Segment(0.0, 1.5, "hello there", 1.0), Segment(3661.0, 3662.25, "bye", 1.0)]
    assert to_srt(segments) == (
        "1\n00:00:00,000 --> 00:00:01,500\nhello there\n\n2\n01:01:01,000 --> 01:01:02,250\nbye\n"
    )


def test_vtt_escapes_and_names_speakers():
    segments = [Segment(0.0, 1.0, "if a < b && b --> c", 1.0, speaker="Ann <1>")]
    assert to_vtt(segments) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n<v Ann &lt;1&gt;>if a &lt; b &amp;&amp; b --&gt; c\n"
    )


def test_srt_text_cannot_pass_for_a_timing_line():
    body = to_srt([Segment(0.0, 1.0, "00:00:09,000 --> 00:00:10,000", 1.0)])
    assert body.count("-->") == 1


def test_txt_has_a_line_a_segment():
    segments = [Segment(0, 1, "one\ntwo", 1.0), Segment(1, 2, "three", 1.0, speaker="Bo")]
    assert to_txt(segments) == "one two\nBo: three\n"


def test_silence():
    assert (to_srt([]), to_vtt([]), to_txt([])) == ("", "WEBVTT\n", "")


def test_long_segment_is_split_at_its_word_times():
    text = " ".join(f"word{number:02}" for number in range(30))
    cues = to_cues([spoken(text, start=10.0)])
    assert len(cues) > 2
    assert all(len(cue.lines) <= 2 and all(len(line) <= 42 for line in cue.lines) for cue in cues)
    assert " ".join(line for cue in cues for line in cue.lines) == text
    for cue in cues:
        first = int(cue.lines[0][4:6])
        last = int(cue.lines[-1][-2:])
        assert (cue.start, cue.end) == (10 + first * 0.5, 10 + (last + 1) * 0.5)


def test_script_without_spaces_is_broken_too():
    cues = to_cues([Segment(0.0, 10.0, "字" * 200, 1.0)])
    assert all(len(line) <= 42 for cue in cues for line in cue.lines)
    assert "".join(line.replace(" ", "") for cue in cues for line in cue.lines) == "字" * 200
    assert cues[-1].end == pytest.approx(10.0)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=400), st.floats(0, 1e5), st.floats(0, 60))
def test_cues_of_any_text_are_in_order_and_small(text, start, seconds):
    cues = to_cues([Segment(start, start + seconds, text, 1.0)])
    edges = [edge for cue in cues for edge in (cue.start, cue.end)]
    assert edges == sorted(edges)
    assert all(len(line) <= 42 and line.strip() for cue in cues for line in cue.lines)
    assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == "".join(text.split())


def test_renders_a_real_transcript():
    transcript = ml.stt.transcribe(owned_clips()[3].path)
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\nThe president", render(transcript, "srt"))
    assert render(transcript, "vtt").startswith("WEBVTT\n\n00:00:0")
    assert render(transcript, "txt") == transcript.text + "\n"
    with pytest.raises(errors.InvalidRequest):
        render(transcript, "docx")
