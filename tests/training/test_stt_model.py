"""The model: padding and batch-mates change nothing; searches agree where they must."""

from __future__ import annotations

import itertools

import pytest
import torch

from training.stt.config import ModelSettings
from training.stt.decode import beam_search, ctc_score, greedy_search, rescore
from training.stt.loss import skew, transducer_loss
from training.stt.model import Transducer, subsampled

SMALL = {"d_model": 32, "num_heads": 2, "num_layers": 2, "ffn_dim": 64, "conv_kernel": 7, "joiner_dim": 24}


@pytest.fixture(params=["global", "utterance"])
def model(request) -> Transducer:
    torch.manual_seed(0)
    return Transducer(ModelSettings(**SMALL, normalization=request.param, predictor_dim=16), 12).eval()


@torch.no_grad()
def test_padding_and_batch_mates_change_nothing(model):
    features = torch.randn(3, 203, 80)
    lengths = torch.tensor([203, 90, 57])
    for row, length in enumerate(lengths.tolist()):
        features[row, length:] = -23.0 if row == 1 else 1e3
    together, ctc, frames = model.encode(features, lengths)
    labels = greedy_search(model, together, frames)
    for row, length in enumerate(lengths.tolist()):
        alone, alone_ctc, count = model.encode(features[row : row + 1, :length], torch.tensor([length]))
        assert count.item() == frames[row].item() == alone.shape[1]
        torch.testing.assert_close(together[row, : count.item()], alone[0], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(ctc[row, : count.item()], alone_ctc[0], atol=2e-5, rtol=1e-4)
        assert greedy_search(model, alone, count) == [labels[row]]


@torch.no_grad()
def test_lengths_are_the_convolutions(model):
    for length in range(1, 30):
        encoded, _, frames = model.encode(torch.randn(1, length, 80), torch.tensor([length]))
        assert encoded.shape[1] == frames.item() == subsampled(torch.tensor([length])).item()


@torch.no_grad()
def test_beam_of_one_is_greedy(model):
    encoded, _, frames = model.encode(torch.randn(1, 160, 80), torch.tensor([160]))
    best = beam_search(model, encoded[0], beam=1)[0]
    assert [list(best.labels)] == greedy_search(model, encoded, frames)


@torch.no_grad()
def test_blank_penalty_adds_labels(model):
    model.joiner.out.bias[0] += 2.0
    encoded, _, frames = model.encode(torch.randn(1, 160, 80), torch.tensor([160]))
    few = greedy_search(model, encoded, frames)[0]
    many = greedy_search(model, encoded, frames, blank_penalty=6.0)[0]
    assert len(many) > len(few)


@torch.no_grad()
def test_rescoring_follows_the_language_model(model):
    encoded, ctc, _ = model.encode(torch.randn(1, 60, 80), torch.tensor([60]))
    hypotheses = beam_search(model, encoded[0], beam=4, blank_penalty=3.0)
    wanted = hypotheses[-1]
    chosen = rescore(
        hypotheses,
        ctc[0],
        language_model=lambda labels: 0.0 if tuple(labels) == wanted.labels else -1e6,
        lm_weight=1.0,
    )
    assert chosen == wanted
    assert ctc_score(ctc[0], wanted.labels) < 0


def test_transducer_loss_is_the_sum_over_alignments():
    """T = 2, one label: blank after it, in either frame."""
    logits = torch.randn(1, 2, 2, 3)
    p = logits.log_softmax(-1)[0]
    first = p[0, 0, 1] + p[0, 1, 0] + p[1, 1, 0]
    second = p[0, 0, 0] + p[1, 0, 1] + p[1, 1, 0]
    expected = -torch.logaddexp(first, second)
    loss = transducer_loss(logits, torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1]))
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def test_one_symbol_a_frame_is_the_sum_over_such_alignments():
    """T = 4 frames, U = 2 labels: every choice of two frames that emit; the last is a blank."""
    encoded, predicted = torch.randn(1, 4, 1, 5), torch.randn(1, 3, 5)
    project = torch.nn.Linear(5, 3)
    targets, lengths = torch.tensor([[1, 2]]), torch.tensor([2])
    p = project(torch.tanh(encoded + predicted[:, None])).log_softmax(-1)[0].detach()
    paths = []
    for emitting in itertools.combinations(range(3), 2):
        score, label = torch.zeros(()), 0
        for frame in range(4):
            score = score + p[frame, label, targets[0, label] if frame in emitting else 0]
            label += frame in emitting
        paths.append(score)
    expected = -torch.logsumexp(torch.stack(paths), 0)
    skewed, steps = skew(encoded, torch.tensor([4]), lengths, labels=3)
    loss = transducer_loss(project(torch.tanh(skewed + predicted[:, None])), steps, targets, lengths)
    torch.testing.assert_close(loss.detach(), expected, atol=1e-5, rtol=1e-5)
