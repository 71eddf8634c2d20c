"""What the speech endpoints accept."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from config import env
from config.settings.core import DATA_DIR

TTS_MAX_CHARACTERS = env.integer("TTS_MAX_CHARACTERS", 100_000, minimum=1)
TTS_VERIFY_MAX_CHARACTERS = env.integer("TTS_VERIFY_MAX_CHARACTERS", 5_000, minimum=1)
TTS_MAX_LEXICONS = env.integer("TTS_MAX_LEXICONS", 50, minimum=1)
TTS_LEXICON_MAX_ENTRIES = env.integer("TTS_LEXICON_MAX_ENTRIES", 5_000, minimum=1)
TTS_LEXICON_MAX_BYTES = env.integer("TTS_LEXICON_MAX_KB", 2048, minimum=1) * 1024
TTS_MAX_VOICE_DEFAULTS = env.integer("TTS_MAX_VOICE_DEFAULTS", 200, minimum=1)
TTS_MAX_BATCH_ITEMS = env.integer("TTS_MAX_BATCH_ITEMS", 100, minimum=1)

# Sessions of WS /tts/stream: in one process, and in one process for one organisation.
TTS_LIVE_MAX_SESSIONS = env.integer("TTS_LIVE_MAX_SESSIONS", 500, minimum=1)
TTS_LIVE_MAX_SESSIONS_PER_ORGANIZATION = env.integer("TTS_LIVE_MAX_SESSIONS_PER_ORGANIZATION", 100, minimum=1)
TTS_LIVE_MAX_CHARACTERS = env.integer("TTS_LIVE_MAX_CHARACTERS", 500_000, minimum=1)
TTS_LIVE_MAX_SECONDS = env.integer("TTS_LIVE_MAX_SECONDS", 3600, minimum=1)
TTS_LIVE_IDLE_SECONDS = env.integer("TTS_LIVE_IDLE_SECONDS", 60, minimum=1)
TTS_LIVE_FLUSH_SECONDS = env.integer("TTS_LIVE_FLUSH_MILLISECONDS", 1000) / 1000
"""An unfinished sentence is spoken when its text stopped coming for so long; 0: it waits for `flush` or `stop`."""

# Voices from recordings: how many an organisation may have, and what a sample and a spoken consent may be.
VOICES_MAX_PER_ORGANIZATION = env.integer("VOICES_MAX_PER_ORGANIZATION", 50)
VOICE_SAMPLE_MAX_BYTES = env.integer("VOICE_SAMPLE_MAX_MB", 50, minimum=1) * 1024 * 1024
VOICE_SAMPLE_MAX_SECONDS = env.integer("VOICE_SAMPLE_MAX_SECONDS", 900, minimum=5)
VOICE_CONSENT_AUDIO_REQUIRED = env.flag("VOICE_CONSENT_AUDIO_REQUIRED", False)
VOICE_CONSENT_MIN_MATCH = env.integer("VOICE_CONSENT_MIN_MATCH_PERCENT", 50) / 100
"""Of the statement's letters, that are heard in a spoken consent."""

STT_MAX_UPLOAD_BYTES = env.integer("STT_MAX_UPLOAD_MB", 30, minimum=1) * 1024 * 1024
STT_MAX_ASYNC_UPLOAD_BYTES = env.integer("STT_MAX_ASYNC_UPLOAD_MB", 4096, minimum=1) * 1024 * 1024
STT_MAX_DURATION_SECONDS = env.integer("STT_MAX_DURATION_SECONDS", 4 * 3600, minimum=1)
STT_MAX_BATCH_FILES = env.integer("STT_MAX_BATCH_FILES", 50, minimum=1)
# Sessions of WS /stt/stream: in one process, and in one process for one organisation.
STT_LIVE_MAX_SESSIONS = env.integer("STT_LIVE_MAX_SESSIONS", 200, minimum=1)
STT_LIVE_MAX_SESSIONS_PER_ORGANIZATION = env.integer("STT_LIVE_MAX_SESSIONS_PER_ORGANIZATION", 50, minimum=1)
STT_LIVE_MAX_SECONDS = env.integer("STT_LIVE_MAX_SECONDS", 4 * 3600, minimum=1)
STT_LIVE_IDLE_SECONDS = env.integer("STT_LIVE_IDLE_SECONDS", 60, minimum=1)
STT_LIVE_MAX_MESSAGE_BYTES = 1024 * 1024

MODEL_BASE_PATH = env.path("MODEL_BASE_PATH", DATA_DIR / "models")
_megabytes = {"host": env.optional_integer("MODEL_MEMORY_MB"), "cuda": env.optional_integer("MODEL_GPU_MEMORY_MB")}
MODEL_MEMORY_BYTES = {kind: size * 1024 * 1024 if size else None for kind, size in _megabytes.items()}
"""By kind of memory; None: 60 % of the machine's, all of each GPU's."""
MODEL_IDLE_SECONDS = env.integer("MODEL_IDLE_SECONDS", 900)
MODEL_BATCH_WAIT_SECONDS = env.integer("MODEL_BATCH_WAIT_MILLISECONDS", 5) / 1000
MODEL_MAX_QUEUE = env.integer("MODEL_MAX_QUEUE", 1024, minimum=1)
MODEL_MAX_QUEUE_PER_ORGANIZATION = env.integer("MODEL_MAX_QUEUE_PER_ORGANIZATION", 512, minimum=1)
MODELS_WARM = env.flag("MODELS_WARM", False)
MODELS_MANAGED_BY = env.choice("MODELS_MANAGED_BY", "admins", ("admins", "operators"))
"""Who may load the models anew. Only operators (superusers) may install, activate and remove them."""

# What turns words into figures and figures into words: our own rules, or nemo_text_processing, which covers more.
TEXT_GRAMMARS = env.choice("TEXT_GRAMMARS", "rules", ("rules", "nemo"))
TEXT_GRAMMARS_FOLDER: Path = DATA_DIR / "grammars"
if TEXT_GRAMMARS == "nemo" and importlib.util.find_spec("nemo_text_processing") is None:
    raise ImproperlyConfigured("TEXT_GRAMMARS is nemo: install it with pip install -r requirements-nemo.txt.")

# The whole body of any request: a batch of full-sized files, and a little for the form around them.
MAX_BODY_BYTES = env.integer("MAX_BODY_MB", 4200, minimum=1) * 1024 * 1024
# Any body that is not a file upload, and the form fields beside files. A text of 100,000 characters is at most 1.2 MB.
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("MAX_JSON_MB", 16, minimum=1) * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = STT_MAX_BATCH_FILES + 1

SEED_ORGANIZATION = env.text("SEED_ORGANIZATION", "Acme Corp")
SEED_EMAIL = env.text("SEED_EMAIL", "owner@acme.dev")
SEED_PASSWORD = env.text("SEED_PASSWORD", "ChangeMe123!")
