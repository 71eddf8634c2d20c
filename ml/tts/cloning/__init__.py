"""Voices from recordings.

`examine(path)` checks and cleans a sample, `learn(sample, …)` makes a voice of it: cloned by an installed engine that
can, else the embedded synthesiser adapted to what was measured of the speaker. `pack` and `unpack` carry what was
learned; `at_rate` resamples a preview; `compare` says whether two recordings are of one speaker.
"""

from ml.tts.cloning.learning import Learned, at_rate, choose, learn
from ml.tts.cloning.sample import Sample, examine
from ml.tts.cloning.speakers import Match, compare
from ml.tts.cloning.storing import pack, unpack

__all__ = ["Learned", "Match", "Sample", "at_rate", "choose", "compare", "examine", "learn", "pack", "unpack"]
