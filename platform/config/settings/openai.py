"""What the names of OpenAI's models and voices stand for, for organisations without aliases of their own."""

from __future__ import annotations

from config import env

OPENAI_STT_MODELS = env.pairs("OPENAI_STT_MODELS")
OPENAI_TTS_MODELS = env.pairs("OPENAI_TTS_MODELS")
OPENAI_VOICES = env.pairs("OPENAI_VOICES")
