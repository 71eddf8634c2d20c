"""Manifests: every problem is found before the first step and named by file and line."""

from __future__ import annotations

import json

import pytest

from training.errors import ManifestInvalid
from training.stt.manifest import data_hash, normalize_text
from training.stt.prepare import prepare


def break_line(manifest, number, **changes):
    lines = manifest.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[number - 1]) | changes
    lines[number - 1] = json.dumps({key: value for key, value in row.items() if value is not None})
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"audio": "absent.wav"}, "missing"),
        ({"text": "  "}, "the text is empty"),
        ({"text": None}, "'text' is missing"),
        ({"duration_seconds": 9.5}, "duration_seconds is 9.5"),
        ({"duration_seconds": "long"}, "not a number"),
    ],
)
def test_names_file_and_line(make_config, corpus, changes, reason):
    break_line(corpus, 3, **changes)
    with pytest.raises(ManifestInvalid) as caught:
        prepare(make_config())
    assert f"{corpus}:3: " in caught.value.problems[0]
    assert reason in caught.value.problems[0]


def test_names_unknown_symbol(make_config, corpus):
    break_line(corpus, 5, text="do dö")
    with pytest.raises(ManifestInvalid, match=r"train\.jsonl:5: unknown symbol 'ö' \(U\+00F6\)"):
        prepare(make_config(tokenizer__alphabet="doremifa"))


def test_reports_every_problem_at_once(make_config, corpus):
    break_line(corpus, 2, text="")
    break_line(corpus, 6, audio="absent.wav")
    with pytest.raises(ManifestInvalid) as caught:
        prepare(make_config())
    lines = [problem.split(": ")[0] for problem in caught.value.problems]
    assert f"{corpus}:2" in lines
    assert f"{corpus}:6" in lines


def test_line_that_is_not_json(make_config, corpus):
    corpus.write_text(corpus.read_text(encoding="utf-8") + "{oops\n", encoding="utf-8")
    with pytest.raises(ManifestInvalid, match=r"train\.jsonl:9: not JSON"):
        prepare(make_config())


def test_audio_that_cannot_be_read(make_config, corpus):
    (corpus.parent / "0.wav").write_bytes(b"not a wav file")
    with pytest.raises(ManifestInvalid, match=r"train\.jsonl:1: .* cannot be read"):
        prepare(make_config())


def test_missing_manifest(make_config, tmp_path):
    with pytest.raises(ManifestInvalid, match="no such manifest"):
        prepare(make_config(data__train=[{"manifest": str(tmp_path / "absent-*.jsonl")}]))


def test_shards_weights_and_speakers(make_config, corpus):
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    (corpus.parent / "shard-0.jsonl").write_text("".join(lines[:4]), encoding="utf-8")
    (corpus.parent / "shard-1.jsonl").write_text("".join(lines[4:]), encoding="utf-8")
    source = {"manifest": str(corpus.parent / "shard-*.jsonl"), "weight": 2.5, "speakers": ["s0"]}
    data = prepare(make_config(data__train=[source], tokenizer__alphabet="doremifa"))
    assert [item.audio.name for item in data.train] == ["0.wav", "2.wav", "4.wav", "6.wav"]
    assert {item.weight for item in data.train} == {2.5}


def test_hash_follows_content_not_place(make_config, corpus):
    first = prepare(make_config())
    assert data_hash(first.train) == first.data_hash
    break_line(corpus, 1, text="re do mi")
    assert prepare(make_config()).data_hash != first.data_hash


def test_text_is_composed_and_spaced():
    assert normalize_text("  Cafe\u0301  AU lait ", lowercase=True) == "café au lait"
