"""Whether a word's confidence tells how likely it is right.

    python -m benchmarks.confidence            # the table: words by confidence, and the share of them that is wrong
    python -m benchmarks.confidence --all      # over every English clip of up to 12 s, instead of nine short ones
    python -m benchmarks.confidence --fit      # a map of raw confidences to declare in the engine's capabilities

Words of the English clips in SPEECH_DATA, or `../shared/speech`, clean and with pink noise at 10 dB, as recognised by
the embedded recogniser through `ml.stt.transcribe`. A word is right where the alignment of least edits with the
reference has it unchanged.
"""

import argparse
import itertools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jiwer
import numpy as np

import ml.stt
from benchmarks.pipeline_noise import Noises, mix
from ml.stt import registry
from ml.types import TranscriptionOptions
from tests.ml.stt_support import normalise, pcm_of, real_clips, write_audio

OPTIONS = TranscriptionOptions(word_timestamps=True, disable=("punctuate", "truecase", "itn"))
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.01)


def words_with_outcomes(clips, folder):
    """(confidences, right): (n,) float and bool, over all recognised words."""
    noises = Noises(clips)
    paths = []
    for number, clip in enumerate(clips):
        for level_db in (None, 10):
            mixed = mix(pcm_of(clip), None if level_db is None else noises.pink, level_db)
            paths.append((clip, write_audio(folder / f"{number}-{level_db}.flac", mixed, 16_000, codec="flac")))
    with ThreadPoolExecutor(2) as executor:
        results = list(executor.map(lambda pair: ml.stt.transcribe(pair[1], OPTIONS), paths))
    confidences, right = [], []
    for (clip, _), result in zip(paths, results, strict=True):
        words = [word for segment in result.segments for word in segment.words]
        outcomes = right_words(clip.text, [normalise(word.text) for word in words])
        confidences += [word.confidence for word in words]
        right += outcomes
    return np.array(confidences), np.array(right)


def right_words(reference, words):
    if not words:
        return []
    alignment = jiwer.process_words(reference, " ".join(word or "-" for word in words)).alignments[0]
    right = [False] * len(words)
    for chunk in alignment:
        if chunk.type == "equal":
            right[chunk.hyp_start_idx : chunk.hyp_end_idx] = [True] * (chunk.hyp_end_idx - chunk.hyp_start_idx)
    return right


def isotonic(confidences, right):
    """Pool-adjacent-violators: [(confidence, share right)], both rising."""
    order = np.argsort(confidences)
    blocks = []
    for confidence, outcome in zip(confidences[order], right[order], strict=True):
        blocks.append([confidence, float(outcome), 1])
        while len(blocks) > 1 and blocks[-2][1] / blocks[-2][2] >= blocks[-1][1] / blocks[-1][2]:
            last = blocks.pop()
            count = blocks[-1][2] + last[2]
            centre = (blocks[-1][0] * blocks[-1][2] + last[0] * last[2]) / count
            blocks[-1] = [centre, blocks[-1][1] + last[1], count]
    return [(round(float(c), 3), round(s / n, 3)) for c, s, n in blocks if n >= len(right) / 40]


def raw(confidences):
    """The engine's own, before its present map."""
    points = registry.resolve(OPTIONS).model.capabilities.confidence_map
    return np.interp(confidences, [right for _, right in points], [own for own, _ in points]) if points else confidences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    longest, step = (12.0, 1) if arguments.all else (7.2, 2)
    clips = [c for c in real_clips() if 1.9 < c.duration_seconds < longest and "stereo" not in c.path.name][::step]
    with tempfile.TemporaryDirectory() as folder:
        confidences, right = words_with_outcomes(clips, Path(folder))
    print("| confidence | words | wrong |\n|---|---|---|")
    for low, high in itertools.pairwise(BINS):
        chosen = (confidences >= low) & (confidences < high)
        share = f"{1 - right[chosen].mean():.0%}" if chosen.any() else "–"
        print(f"| {low:.1f}–{min(high, 1.0):.1f} | {chosen.sum()} | {share} |")
    print(f"\nmean confidence {confidences.mean():.3f}, share right {right.mean():.3f}")
    # The chance that a right word has the higher confidence of a right and a wrong one.
    pairs = np.sign(confidences[right][:, None] - confidences[~right][None, :])
    print(f"area under the ROC curve {(pairs.mean() + 1) / 2:.3f}")
    if arguments.fit:
        print(isotonic(raw(confidences), right))


if __name__ == "__main__":
    main()
