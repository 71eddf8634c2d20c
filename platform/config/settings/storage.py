"""Where audio is kept: files under DATA_DIR/media, or an S3-compatible store when S3_BUCKET is set."""

from __future__ import annotations

from config import env
from config.settings.core import DATA_DIR

S3_BUCKET = env.text("S3_BUCKET")
MEDIA_ROOT = DATA_DIR / "media"

# A store that hangs must cost a request seconds, not minutes: it answers 503 and the client tries again.
_S3_TIMEOUTS = {"connect_timeout": 3, "read_timeout": 15, "retries": {"max_attempts": 2, "mode": "standard"}}


def _s3_client() -> object:
    from botocore.config import Config  # half a second to import: only where it is used

    return Config(**_S3_TIMEOUTS)


# Keys are random, so that only an attempt that broke off is ever written over.
_FILES = {
    "BACKEND": "django.core.files.storage.FileSystemStorage",
    "OPTIONS": {"location": MEDIA_ROOT, "allow_overwrite": True},
}
_S3 = {
    "BACKEND": "storages.backends.s3.S3Storage",
    "OPTIONS": {
        "bucket_name": S3_BUCKET,
        "endpoint_url": env.text("S3_ENDPOINT_URL") or None,
        "region_name": env.text("S3_REGION", "us-east-1"),
        "access_key": env.text("S3_ACCESS_KEY_ID") or None,
        "secret_key": env.text("S3_SECRET_ACCESS_KEY") or None,
        "default_acl": None,
        "client_config": _s3_client() if S3_BUCKET else None,
        "file_overwrite": True,  # keys are random: looking for a free name would cost a request a file
    },
}
STORAGES = {
    "default": _S3 if S3_BUCKET else _FILES,
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

# Uploads go to a temporary file at once, whatever their size: memory stays bounded and decoders get a path. On the disk
# of the stored files, so that storing one is a renaming.
FILE_UPLOAD_HANDLERS = ["common.uploads.UploadHandler"]
UPLOAD_DIR = DATA_DIR / "uploads"
UPLOAD_RESERVE_BYTES = env.integer("UPLOAD_RESERVE_MB", 256) * 1024 * 1024
"""What a large upload must leave free on that disk: rows and logs need room too."""
FILE_UPLOAD_PERMISSIONS = 0o600
AUDIO_URL_TTL_SECONDS = env.integer("AUDIO_URL_TTL_SECONDS", 3600, minimum=1)
