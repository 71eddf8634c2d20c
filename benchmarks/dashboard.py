"""What the dashboard's pages cost in a large organisation: `python benchmarks/dashboard.py` (`--jobs 2000`: quicker).

With a database of its own that holds 100,000 jobs, half of them transcriptions, with transcripts of distinct words and
usage records over 30 days. Every page of the navigation, searches, filters, a late page of a list and single jobs are
asked for by Django's own client, as the owner: the whole of the server's work but for the socket. Prints for each page
its queries, the median and the worst of its server time, and the median of what this process computed in it (the rest
is the database's and, on a machine with other work, waiting), and marks what is over 20 queries or 100 ms.

Needs an idle machine; the figures of one run belong together.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

MOST_QUERIES, MOST_MILLISECONDS = 20, 100
DAYS = 30
CHUNK = 5000
VOCABULARY = [f"{first}{last}" for first in ("ba", "ko", "ri", "tu", "se") for last in "abcdefghijklmnopqrst"] * 5
STATUSES = ["succeeded"] * 17 + ["failed"] * 2 + ["cancelled"]


def set_up(data_dir: str) -> None:
    os.environ.update(DATA_DIR=data_dir, ENV_FILE=os.devnull, LOG_LEVEL="ERROR", DATABASE_URL="",
                      ENVIRONMENT="development", DJANGO_SETTINGS_MODULE="config.settings")  # fmt: skip
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(organization: Any, user: Any, count: int) -> None:
    """`count` jobs, half of each kind, each with its usage record."""
    chance = random.Random(1)
    for start in range(0, count // 2, CHUNK):
        many = min(CHUNK, count // 2 - start)
        add_usage(add_transcriptions(organization, user, many, chance))
        add_usage(add_syntheses(organization, user, many, chance))
    spread()


def add_transcriptions(organization: Any, user: Any, count: int, chance: random.Random) -> list[Any]:
    from stt.models import AudioFile, SttJob, Transcription

    owner = {"organization": organization}
    audio = AudioFile.objects.bulk_create(
        AudioFile(**owner, filename=f"call-{number}.wav", size_bytes=64_000, key=f"none/{number}.wav")
        for number in range(count)
    )
    jobs = SttJob.objects.bulk_create(
        SttJob(**owner, user=user, audio=file, status=chance.choice(STATUSES), duration_seconds=4.2,
               model="pocketsphinx-en-us", timings={"decode": 0.1, "recognise": 0.8}) for file in audio
    )  # fmt: skip
    Transcription.objects.bulk_create(
        Transcription(**owner, job=job, text=sentence(chance), language="en-US", language_confidence=1, confidence=0.8,
                      segments=[], model_used="pocketsphinx-en-us", quality={}, stages=["decode", "recognise"])
        for job in jobs if job.status == "succeeded"
    )  # fmt: skip
    return jobs


def add_syntheses(organization: Any, user: Any, count: int, chance: random.Random) -> list[Any]:
    from tts.models import TtsJob

    return TtsJob.objects.bulk_create(
        TtsJob(organization=organization, user=user, status=chance.choice(STATUSES), text=sentence(chance),
               characters=60, language="en-US", voice="espeak:en-us", model="espeak-ng", format="mp3",
               sample_rate=22050, duration_seconds=3.1) for _ in range(count)
    )  # fmt: skip


def sentence(chance: random.Random) -> str:
    return " ".join(f"{chance.choice(VOCABULARY)}{chance.randrange(20)}" for _ in range(12))


def add_usage(jobs: list[Any]) -> None:
    from analytics.models import UsageRecord

    UsageRecord.objects.bulk_create(
        UsageRecord(organization=job.organization, task=job.task, job_id=job.id, status=job.status, user=job.user,
                    model=job.model, characters=getattr(job, "characters", 0),
                    audio_seconds=4.2 if job.task == "stt" else 0, compute_seconds=1) for job in jobs
    )  # fmt: skip


def spread() -> None:
    """Jobs over the last days, and their usage records with them. In SQL: rows by the hundred thousand."""
    from django.db import connection

    with connection.cursor() as cursor:
        for table in ("stt_sttjob", "tts_ttsjob"):
            cursor.execute(f"UPDATE {table} SET created_at = now() - random() * interval '{DAYS} days'")
            cursor.execute(
                f"UPDATE {table} SET started_at = created_at + random() * interval '1 second', "
                "finished_at = created_at + interval '1 second' + random() * interval '2 seconds'"
            )
            cursor.execute(
                f"UPDATE analytics_usagerecord r SET created_at = j.finished_at FROM {table} j WHERE j.id = r.job_id"
            )
        cursor.execute("VACUUM ANALYZE")


# ── Pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def pages(organization: Any) -> Iterator[str]:
    """Every page of the navigation, and what is asked of lists and of single jobs."""
    from django.urls import reverse

    from dashboard.nav import registered
    from stt.models import SttJob
    from tts.models import TtsJob

    yield from (reverse(item.view) for item in registered()[0])
    jobs = reverse("dashboard:jobs")
    yield from (f"{jobs}?status=failed", f"{jobs}?period=1", f"{jobs}?page=100")
    yield from (f"{jobs}?q=baa1", f"{jobs}?q=baa1+OR+kob2", f"{jobs}?q=nothingofthis", f"{jobs}?q=baa1&status=failed")
    yield from (f"{jobs}/tts", f"{jobs}/tts?q=baa1", f"{jobs}/tts?q=baa1+rib2&period=7")
    for task, model in (("stt", SttJob), ("tts", TtsJob)):
        rows = model.objects.filter(organization=organization, status="succeeded")
        yield f"{jobs}/{task}/{rows.values_list('id', flat=True)[0]}"


def measure(client: Any, path: str, times: int) -> bool:
    """Whether the page keeps to the limits."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    answer = client.get(path)  # templates are compiled, caches filled
    if answer.status_code != 200:
        print(f"{'':>4} {'':>8}    {'':>8}     {path}  answers {answer.status_code}")
        return answer.status_code in (301, 302)
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    queries = captured.captured_queries  # now: the next request forgets them
    runs = [timed(client, path) for _ in range(times)]
    milliseconds = sorted(wall for wall, _ in runs)
    median, computed = statistics.median(milliseconds), statistics.median(cpu for _, cpu in runs)
    good = len(queries) <= MOST_QUERIES and median <= MOST_MILLISECONDS
    print(
        f"{len(queries):>4} {median:>8.1f} ms {milliseconds[-1]:>8.1f} ms {computed:>8.1f} ms  {path}"
        f"{'' if good else '   OVER'}",
        flush=True,
    )
    if not good:
        for query in sorted(queries, key=lambda query: -float(query["time"]))[:3]:
            print(f"       {1e3 * float(query['time']):.0f} ms  {query['sql'][:300]}")
    return good


def timed(client: Any, path: str) -> tuple[float, float]:
    """Milliseconds: in all, and of this process's computing."""
    started, computed = time.perf_counter(), time.process_time()
    client.get(path)
    return 1e3 * (time.perf_counter() - started), 1e3 * (time.process_time() - computed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        set_up(data_dir)
        report(options.jobs, options.times)


def report(count: int, times: int) -> None:
    from django.test import Client

    from accounts.models import Membership, Organization, User
    from models_registry.services import register_embedded

    register_embedded()
    organization = Organization.objects.create(name="Benchmark", slug="benchmark")
    user = User.objects.create(email="owner@example.com", name="Owner")
    Membership.objects.create(organization=organization, user=user, role="owner")
    fill(organization, user, count)
    client = Client()
    client.force_login(user)
    print(f"{count:,} jobs\n queries  p50        worst       computing")
    good = [measure(client, path, times) for path in dict.fromkeys(pages(organization))]
    print(f"{sum(good)} of {len(good)} within {MOST_QUERIES} queries and {MOST_MILLISECONDS} ms")


if __name__ == "__main__":
    main()
