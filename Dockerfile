# syntax=docker/dockerfile:1
# One image runs everything: servers (the default command), workers (manage.py worker), releases (manage.py release).
#   docker build --target cpu  -t speech:cpu .
#   docker build --target cuda -t speech:cuda .
# scripts/dry_run_dockerfile.py runs these instructions without a container engine.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ── What both have ──────────────────────────────────────────────────────────────────────────────────────────────────
# Everything native comes in wheels (FFmpeg's libraries in av, espeak-ng, RNNoise, pg_dump): Debian's packages are not
# needed, and there is no compiler in the image.
FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/venv/bin:$PATH
RUN groupadd --gid 10001 speech \
 && useradd --uid 10001 --gid speech --home-dir /data --no-create-home --shell /usr/sbin/nologin speech
WORKDIR /app

# ── Packages: a layer that changes with requirements.txt only ───────────────────────────────────────────────────────
FROM base AS packages
RUN python3 -m venv /opt/venv
COPY requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --compile -r requirements.txt

FROM packages AS packages-cuda
COPY requirements-torch.txt requirements-cuda.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --compile -r requirements-cuda.txt

# ── The application, with its pages' files collected and compressed ─────────────────────────────────────────────────
FROM packages AS application
COPY . .
RUN DATA_DIR=/tmp/build python3 manage.py collectstatic --noinput \
 && python3 -m compileall -q accounts analytics ml models_registry platform stt tts \
 && rm -rf /tmp/build

# ── The images ──────────────────────────────────────────────────────────────────────────────────────────────────────
FROM base AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Speech platform" \
      org.opencontainers.image.description="Text to speech and speech to text on your own machines" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The root file system may be read-only: what a run writes goes to /data, models are in /models, temporary files in /tmp.
ENV ENVIRONMENT=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data \
    MODEL_BASE_PATH=/models \
    EMBEDDED_WORKER=false \
    HOME=/tmp
RUN install --directory --owner=10001 --group=10001 --mode=0750 /data /models
VOLUME ["/data", "/models"]
EXPOSE 8000
USER 10001:10001
STOPSIGNAL SIGTERM
# The process answers; whether it is ready to serve is asked by whoever sends it requests (/health/ready).
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=4)"]
CMD ["python3", "manage.py", "serve", "--no-setup"]

# The driver comes from the host (NVIDIA's container toolkit), CUDA's libraries from wheels.
FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-cuda /opt/venv /opt/venv
COPY --from=application /app /app

# The last stage is what a build without --target makes.
FROM runtime AS cpu
COPY --from=packages /opt/venv /opt/venv
COPY --from=application /app /app
