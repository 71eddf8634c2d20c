"""Each kind of CTC model that sherpa-onnx reads, and SenseVoice."""

from __future__ import annotations

import numpy as np

from tests.ml.tiny_models import (
    BLANK_LAST,
    SUBSAMPLING,
    SYMBOLS,
    THRESHOLD,
    TONES,
    kaldi,
    lengths_of,
    projection,
    save_onnx,
    scores_of,
    slaney,
    tone_speech,
    waveform_scores,
    with_blank,
    write_manifest,
    write_tokens,
)

MFCC = 40


def save_ctc(folder, kind, **fields):
    """Of any `model_type`."""
    folder.mkdir(parents=True, exist_ok=True)
    _CTC[kind](folder)
    settings = {"model_type": kind, "threads": 1, **fields.pop("settings", {})}
    return write_manifest(folder, engine="sherpa", format="ctc", name=f"tone-{kind}", settings=settings, **fields)


def _framewise(folder, weights, *, blank, metadata, turned=False, mask=False):
    """Features and lengths in, log-probabilities and lengths out. turned: NeMo's (N, bins, T)."""
    weights, bias = with_blank(weights, blank)
    nodes, constants = scores_of("frames" if turned else "x", weights, bias, out="scores")
    if turned:
        nodes.insert(0, ("Transpose", ["x"], ["frames"], {"perm": [0, 2, 1]}))
    lengths, more = lengths_of("heard" if mask else "x_lens", out="lengths")
    if mask:
        more["over_time"] = np.array([1], np.int64)
        lengths.insert(0, ("ReduceSum", ["x_lens", "over_time"], ["heard"], {"keepdims": 0}))
    bins = weights.shape[0]
    shape = ["N", bins, "T"] if turned else ["N", "T", bins]
    save_onnx(
        folder / "model.onnx",
        [*nodes, ("LogSoftmax", ["scores"], ["log_probs"], {"axis": -1}), *lengths],
        [("x", "f", shape), ("x_lens", "i", ["N", "T"] if mask else ["N"])],
        [("log_probs", "f", ["N", "S", weights.shape[1]]), ("lengths", "i", ["N"])],
        constants | more,
        metadata,
    )


def _zipformer(folder):
    _framewise(folder, projection(), blank=0, metadata={"vocab_size": 5})
    write_tokens(folder)


def _nemo(folder):
    weights = projection(slaney, 0.0, 8000.0)
    about = {"vocab_size": len(SYMBOLS), "subsampling_factor": SUBSAMPLING, "normalize_type": ""}
    _framewise(folder, weights, blank=len(SYMBOLS), metadata=about, turned=True)
    write_tokens(folder, BLANK_LAST)


def _wenet(folder):
    _framewise(folder, projection(), blank=0, metadata={"vocab_size": 5, "subsampling_factor": SUBSAMPLING})
    write_tokens(folder, ("<blank>", *SYMBOLS))


def _dolphin(folder):
    plain = {"mean": ",".join(["0"] * 80), "invstd": ",".join(["1"] * 80)}
    _framewise(folder, projection(slaney, 0.0, 8000.0), blank=0, metadata={"vocab_size": 5, **plain})
    write_tokens(folder)


def _medasr(folder):
    weights = projection(kaldi, 125.0, 7500.0, bins=128)
    about = {"model_type": "medasr_ctc", "vocab_size": 5, "subsampling_factor": SUBSAMPLING}
    _framewise(folder, weights, blank=0, metadata=about, mask=True)
    write_tokens(folder)


def _telespeech(folder):
    """Of 40 cepstra, each normalised over the utterance, one utterance a call: (1, T, 40) → (T / 4, 1, symbols)."""
    weights, bias = _cepstral_classifier()
    nodes, constants = scores_of("x", weights, bias, out="scores")
    save_onnx(
        folder / "model.onnx",
        [
            *nodes,
            ("LogSoftmax", ["scores"], ["log_probs"], {"axis": -1}),
            ("Transpose", ["log_probs"], ["y"], {"perm": [1, 0, 2]}),
        ],
        [("x", "f", ["N", "T", MFCC])],
        [("y", "f", ["S", "N", 5])],
        constants,
        {"model_type": "telespeech_ctc"},
    )
    write_tokens(folder)


def _cepstral_classifier():
    """(40, 5) and (5,): fitted by least squares to the cepstra of a few melodies, as the library computes them."""
    import kaldi_native_fbank as knf

    options = knf.MfccOptions()
    options.num_ceps = options.mel_opts.num_bins = MFCC
    options.use_energy = False
    options.mel_opts.low_freq, options.mel_opts.high_freq = 40, -200
    options.frame_opts.snip_edges, options.frame_opts.dither = True, 0
    frames, wanted = [], []
    for melody in (
        (300, 1000, 3000, 6000, 300),
        (1000,),
        (6000, 300),
        (1000, 300),
        (6000, 3000, 1000, 300),
        (300, 6000, 1000),
    ):
        mfcc = knf.OnlineMfcc(options)
        mfcc.accept_waveform(16_000, tone_speech(*melody).astype(np.float32).tolist())
        mfcc.input_finished()
        cepstra = np.stack([mfcc.get_frame(i) for i in range(mfcc.num_frames_ready)])
        frames.append((cepstra - cepstra.mean(0)) / (cepstra.std(0) + 1e-5))
        wanted += [_sounding(melody, 0.01 * i + 0.0125) for i in range(len(cepstra))]
    x = np.concatenate(frames)
    targets = 10.0 * np.eye(5)[wanted]
    fitted, *_ = np.linalg.lstsq(np.c_[x, np.ones(len(x))], targets, rcond=1e-6)
    return fitted[:-1].astype(np.float32), fitted[-1].astype(np.float32)


def _sounding(melody, second):
    """The symbol at a time of `tone_speech`, 0 in its pauses."""
    note, since = divmod(second, 0.6)
    sounds = since > 0.3 and note < len(melody)
    return 1 + list(TONES.values()).index(melody[int(note)]) if sounds else 0


def _omnilingual(folder):
    """Of the waveform, normalised, in frames of 20 ms; the library takes the frames' times from the model's stride."""
    nodes, constants = waveform_scores("x", stride=320)
    save_onnx(
        folder / "model.onnx",
        [*nodes, ("Transpose", ["scores"], ["turned"], {"perm": [0, 2, 1]}),
         ("LogSoftmax", ["turned"], ["y"], {"axis": -1})],
        [("x", "f", ["N", "T"])],
        [("y", "f", ["N", "S", 5])],
        constants,
        {},
    )  # fmt: skip
    write_tokens(folder)


_CTC = {
    "zipformer_ctc": _zipformer,
    "nemo_ctc": _nemo,
    "wenet_ctc": _wenet,
    "telespeech_ctc": _telespeech,
    "dolphin_ctc": _dolphin,
    "omnilingual_asr_ctc": _omnilingual,
    "medasr_ctc": _medasr,
}
CTC_KINDS = tuple(_CTC)


# ── SenseVoice ──────────────────────────────────────────────────────────────────────────────────────────────────────

LFR_WINDOW, LFR_SHIFT = 7, 6  # frames that are stacked, and by how many the stacks move
_LANGUAGES = {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12}
_WITH_ITN, _WITHOUT_ITN = 14, 15
_MARKS = ("<unk>", "<s>", *(f"<|{code}|>" for code in _LANGUAGES if code != "auto"), "<|NEUTRAL|>", "<|Speech|>",
          "<|withitn|>", "<|woitn|>")  # fmt: skip
SENSE_VOICE_TOKENS = (*_MARKS, *SYMBOLS, "▁Low")


def save_sense_voice(folder, *, name="tone-sense-voice", languages=("zh", "en", "ja", "ko", "yue"), settings=None):
    """Four frames tell language, emotion, event and ITN; then the tones. With ITN it writes "Low" for "low".

    Asked to detect the language, it finds Japanese where a deep tone sounds in the first stack of frames, else English.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = len(SENSE_VOICE_TOKENS)
    first = size - 5  # of the tones
    stacked = np.zeros((80 * LFR_WINDOW, size), np.float32)
    middle = slice(80 * (LFR_WINDOW // 2), 80 * (LFR_WINDOW // 2 + 1))
    stacked[middle, first : first + 4] = heard_as = projection(high=8000.0)
    stacked[middle, first + 4] = heard_as[:, 0]
    bias = np.full(size, -50.0, np.float32)
    bias[0], bias[first:] = 0.0, -THRESHOLD
    said = np.full((16, size), -5.0, np.float32)  # what each language, and each of the ITN options, makes likelier
    for code, number in _LANGUAGES.items():
        said[number, _place(f"<|{'en' if code == 'auto' else code}|>")] = 5.0
    spelling = np.zeros((16, size), np.float32)
    spelling[_WITH_ITN, first], spelling[_WITHOUT_ITN, first + 4] = -100.0, -100.0
    said[_WITH_ITN, _place("<|withitn|>")] = said[_WITHOUT_ITN, _place("<|woitn|>")] = 5.0
    japanese = np.zeros((80 * LFR_WINDOW, size), np.float32)
    japanese[middle, _place("<|ja|>")] = heard_as[:, 0]
    fixed = np.full((2, 1, size), -5.0, np.float32)
    fixed[0, 0, _place("<|NEUTRAL|>")] = fixed[1, 0, _place("<|Speech|>")] = 5.0
    save_onnx(
        folder / "model.onnx",
        [
            ("MatMul", ["x", "stacked"], ["heard"], {}),
            ("Gather", ["spelling", "text_norm"], ["spelled"], {"axis": 0}),
            ("Unsqueeze", ["spelled", "one"], ["spelled_all"], {}),
            ("Add", ["heard", "bias"], ["biased"], {}),
            ("Add", ["biased", "spelled_all"], ["tones"], {}),
            *_language_nodes(),
            ("Gather", ["said", "text_norm"], ["itn"], {"axis": 0}),
            ("Unsqueeze", ["itn", "one"], ["itn_frame"], {}),
            ("Shape", ["language_frame"], ["shape"], {}),
            ("Expand", ["emotion", "shape"], ["emotion_frame"], {}),
            ("Expand", ["event", "shape"], ["event_frame"], {}),
            ("Concat", ["language_frame", "emotion_frame", "event_frame", "itn_frame", "tones"], ["logits"],
             {"axis": 1}),
        ],
        [("x", "f", ["N", "T", 80 * LFR_WINDOW]), ("x_length", "j", ["N"]), ("language", "j", ["N"]),
         ("text_norm", "j", ["N"])],
        [("logits", "f", ["N", "S", size])],
        {"stacked": stacked, "bias": bias, "spelling": spelling, "said": said, "one": np.array([1], np.int64),
         "japanese": japanese, "zero": np.array(0, np.int32), "none": np.array(0, np.float32),
         "begin": np.array([0], np.int64), "end": np.array([1], np.int64),
         "emotion": fixed[0][None], "event": fixed[1][None]},
        {
            "vocab_size": size,
            "lfr_window_size": LFR_WINDOW,
            "lfr_window_shift": LFR_SHIFT,
            "normalize_samples": 0,
            "with_itn": _WITH_ITN,
            "without_itn": _WITHOUT_ITN,
            **{f"lang_{code}": number for code, number in _LANGUAGES.items()},
            "neg_mean": ",".join(["0"] * 80 * LFR_WINDOW),
            "inv_stddev": ",".join(["1"] * 80 * LFR_WINDOW),
        },
    )  # fmt: skip
    write_tokens(folder, SENSE_VOICE_TOKENS)
    return write_manifest(
        folder, engine="sherpa", format="sense_voice", name=name, languages=languages, settings=settings
    )


def _place(token):
    return SENSE_VOICE_TOKENS.index(token)


def _language_nodes():
    """ "language_frame": what was asked for, or what the first stack of frames sounds like."""
    return [
        ("Gather", ["said", "language"], ["asked"], {"axis": 0}),
        ("Slice", ["x", "begin", "end", "one"], ["first"], {}),
        ("MatMul", ["first", "japanese"], ["sounds"], {}),
        ("Equal", ["language", "zero"], ["open"], {}),
        ("Unsqueeze", ["open", "one"], ["open_row"], {}),
        ("Unsqueeze", ["open_row", "one"], ["open_frame"], {}),
        ("Where", ["open_frame", "sounds", "none"], ["evidence"], {}),
        ("Unsqueeze", ["asked", "one"], ["asked_frame"], {}),
        ("Add", ["asked_frame", "evidence"], ["language_frame"], {}),
    ]
