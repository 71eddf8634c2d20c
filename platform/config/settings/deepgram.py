"""Deepgram compatibility: what its models' names stand for, and how long recordings are fetched."""

from __future__ import annotations

from config import env

DEEPGRAM_MODELS = env.pairs("DEEPGRAM_MODELS")
DEEPGRAM_FETCH_SECONDS = env.integer("DEEPGRAM_FETCH_SECONDS", 60, minimum=1)
