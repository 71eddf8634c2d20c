"""What an organisation may use: reserved before a model runs, settled in the transaction that ends the job.

    reserve(job, …)   one conditional UPDATE of the month's row, whose count is checked: nothing overshoots
    settle(job, …)    the reservation goes, what was done is used

An organisation without limits costs nothing here: its limits came with its credential, no row is read or written. Its
usage stands in the records, from which a month's row is filled when a limit first needs one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import DecimalField, ExpressionWrapper, F, Q, Sum
from django.utils import timezone

from analytics.models import Quota, QuotaPeriod, Reservation, Task, UsageDay
from common import errors
from common.serializers import json_time
from observability import metrics

if TYPE_CHECKING:
    from accounts.models import Organization
    from analytics.services import Metered
    from jobs.models import Job

LEVELS = (100, 80)
"""Per cent of a limit at which owners and admins are told, once a month each."""

_COST = DecimalField(max_digits=30, decimal_places=9)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Characters spoken, seconds transcribed (to the millisecond)."""

    characters: int = 0
    audio_seconds: Decimal = Decimal(0)

    @classmethod
    def of(cls, *, characters: int = 0, audio_seconds: float = 0.0) -> Amounts:
        return cls(characters, Decimal(str(audio_seconds)).quantize(Decimal("0.001"), ROUND_UP))

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(self.characters - other.characters, self.audio_seconds - other.audio_seconds)

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.characters + other.characters, self.audio_seconds + other.audio_seconds)

    def __bool__(self) -> bool:
        return bool(self.characters or self.audio_seconds)


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit. Prices in the currency of the budget."""

    characters: int | None
    audio_seconds: int | None
    concurrent_jobs: int | None
    budget: Decimal | None
    price_per_million_characters: Decimal
    price_per_audio_hour: Decimal

    @property
    def metered(self) -> bool:
        """Whether anything that is used up in a month is limited."""
        return not (self.characters is None and self.audio_seconds is None and self.budget is None)

    @property
    def none(self) -> bool:
        return not self.metered and self.concurrent_jobs is None

    def cost(self, characters: Any, audio_seconds: Any) -> Any:
        """Of amounts, or of expressions for them."""
        per_character = self.price_per_million_characters / 1_000_000
        return characters * per_character + audio_seconds * (self.price_per_audio_hour / 3600)


def limits_of(organization: Organization) -> Limits:
    """Its own, or else the installation's. No query where the organisation was read with its `quota`."""
    quota: Quota | None = getattr(organization, "quota", None)
    if quota is None:
        return Limits(
            characters=settings.QUOTA_DEFAULT_MONTHLY_CHARACTERS,
            audio_seconds=settings.QUOTA_DEFAULT_MONTHLY_AUDIO_SECONDS,
            concurrent_jobs=settings.QUOTA_DEFAULT_MAX_CONCURRENT_JOBS,
            budget=settings.QUOTA_DEFAULT_MONTHLY_BUDGET,
            price_per_million_characters=settings.QUOTA_DEFAULT_PRICE_PER_MILLION_CHARACTERS,
            price_per_audio_hour=settings.QUOTA_DEFAULT_PRICE_PER_AUDIO_HOUR,
        )
    return Limits(
        characters=quota.monthly_characters,
        audio_seconds=quota.monthly_audio_seconds,
        concurrent_jobs=quota.max_concurrent_jobs,
        budget=quota.monthly_budget,
        price_per_million_characters=quota.price_per_million_characters,
        price_per_audio_hour=quota.price_per_audio_hour,
    )


def set_quota(*, organization: Organization, **limits: Any) -> Quota:
    """Gives the organisation limits of its own; `limits` are fields of `Quota`, those left out stay as they are.

    The month's row starts again from the usage records: an organisation that had no limit was not counted in it.
    """
    with transaction.atomic():
        quota, _ = Quota.objects.update_or_create(organization=organization, defaults=limits)
        _recount(quota.organization_id)
    organization.quota = quota
    return quota


# ── Reserving ───────────────────────────────────────────────────────────────────────────────────────────────────────


def reserve(job: Job, wanted: Amounts) -> None:
    """Raises what the job holds to `wanted`, or raises QuotaExceeded. A job that tries again reserves nothing twice.

    Called inside a transaction, a refusal must be followed by `warn_of_refusal` after it.
    """
    limits = limits_of(job.organization)
    if not limits.metered:
        return
    try:
        with transaction.atomic(savepoint=False):
            held = Reservation.objects.select_for_update().filter(job_id=job.id).first()
            more = wanted - Amounts(held.characters, held.audio_seconds) if held else wanted
            if more.characters <= 0 and more.audio_seconds <= 0:
                return
            row = held or Reservation(
                organization_id=job.organization_id, task=job.task, job_id=job.id, month=current_month()
            )
            row.characters, row.audio_seconds = wanted.characters, wanted.audio_seconds
            row.save()
            # Last: everyone in the organisation waits for this row until the transaction ends.
            _take(job.organization, limits, row.month, more)
    except errors.QuotaExceeded:
        if not connection.in_atomic_block:  # it would be rolled back with the rest
            warn_of_refusal(job.organization)
        raise


def require_left(organization: Organization, task: str) -> None:
    """Raises QuotaExceeded where nothing is left for this kind of work: before an upload whose length nobody knows."""
    limits = limits_of(organization)
    if not limits.metered:
        return
    least = Amounts(characters=1) if task == Task.TTS else Amounts.of(audio_seconds=0.001)
    period = _period(organization.id, current_month())
    if why := _exceeded(limits, period, least):
        warn_of_refusal(organization)
        raise _refusal(limits, period, least, why)


def _take(organization: Organization, limits: Limits, month: date, more: Amounts) -> None:
    for _ in range(2):
        if _fitting(organization.id, limits, month, more).update(
            reserved_characters=F("reserved_characters") + more.characters,
            reserved_audio_seconds=F("reserved_audio_seconds") + more.audio_seconds,
        ):
            return
        period = _period(organization.id, month)  # which may not have been there
    raise _refusal(limits, period, more, _exceeded(limits, period, more) or "characters")


def _fitting(organization_id: UUID, limits: Limits, month: date, more: Amounts) -> Any:
    """The month's row, if `more` fits into it beside what is used and reserved. What is not wanted is not looked at."""
    rows = QuotaPeriod.objects.filter(organization_id=organization_id, month=month)
    characters = F("used_characters") + F("reserved_characters") + more.characters
    audio_seconds = F("used_audio_seconds") + F("reserved_audio_seconds") + more.audio_seconds
    if limits.characters is not None and more.characters:
        rows = rows.alias(all_characters=characters).filter(all_characters__lte=limits.characters)
    if limits.audio_seconds is not None and more.audio_seconds:
        rows = rows.alias(all_seconds=audio_seconds).filter(all_seconds__lte=limits.audio_seconds)
    if limits.budget is not None:
        cost = ExpressionWrapper(limits.cost(characters, audio_seconds), output_field=_COST)
        rows = rows.alias(cost=cost).filter(cost__lte=limits.budget)
    return rows


def _exceeded(limits: Limits, period: QuotaPeriod, more: Amounts) -> str | None:
    """Which limit `more` does not fit into."""
    total = used(period) + reserved(period) + more
    if limits.characters is not None and more.characters and total.characters > limits.characters:
        return "characters"
    if limits.audio_seconds is not None and more.audio_seconds and total.audio_seconds > limits.audio_seconds:
        return "audio_seconds"
    if limits.budget is not None and limits.cost(total.characters, total.audio_seconds) > limits.budget:
        return "budget"
    return None


def _refusal(limits: Limits, period: QuotaPeriod, more: Amounts, resource: str) -> errors.QuotaExceeded:
    def of(amounts: Amounts) -> float:
        if resource == "budget":
            return round(float(limits.cost(amounts.characters, amounts.audio_seconds)), 6)
        return float(getattr(amounts, resource)) if resource == "audio_seconds" else amounts.characters

    metrics.quota_refused(resource)
    limit = getattr(limits, resource)
    resets = resets_at(period.month)
    figures = {
        "resource": resource,
        "limit": float(limit) if resource == "budget" else limit,
        "used": of(used(period)),
        "reserved": of(reserved(period)),
        "requested": of(more),
        "resets_at": json_time(resets),
    }
    name = {"characters": "characters", "audio_seconds": "seconds of audio", "budget": "of the budget"}[resource]
    message = (
        f"The organisation's quota does not allow this: {figures['limit']:,} {name} a month, {figures['used']:,} used, "
        f"{figures['reserved']:,} reserved, {figures['requested']:,} asked for. It starts again on {resets:%Y-%m-%d}."
    )
    return errors.QuotaExceeded(message, extra={"quota": figures})


# ── Settling ────────────────────────────────────────────────────────────────────────────────────────────────────────


def settle(job: Job, metered: Metered) -> None:
    """Turns what the job holds into what it used. A job that holds nothing was not limited, or has been settled."""
    limits = limits_of(job.organization)
    if not limits.metered:
        return  # a reservation from before the limit was lifted is found by `jobs.queue`
    billed = (
        Amounts(characters=metered.characters)
        if job.task == Task.TTS
        else Amounts.of(audio_seconds=metered.audio_seconds)
    )
    with transaction.atomic(savepoint=False):
        period = release(job.id, billed)
        if period is not None:
            _warn(job.organization, limits, period)


def release(job_id: UUID, billed: Amounts = Amounts()) -> QuotaPeriod | None:
    """Ends a reservation, of which `billed` was used; its period, or None where there is none (any more)."""
    with transaction.atomic(savepoint=False):
        held = Reservation.objects.filter(job_id=job_id).first()
        if held is None or not Reservation.objects.filter(id=held.id).delete()[0]:
            return None
        # RETURNING: what the row holds now, without another query while everyone in the organisation waits for it.
        return next(
            iter(
                QuotaPeriod.objects.raw(
                    f"""UPDATE {QuotaPeriod._meta.db_table}
                    SET used_characters = used_characters + %s, used_audio_seconds = used_audio_seconds + %s,
                        reserved_characters = reserved_characters - %s,
                        reserved_audio_seconds = reserved_audio_seconds - %s
                    WHERE organization_id = %s AND month = %s RETURNING *""",  # noqa: S608  a constant
                    [
                        billed.characters,
                        billed.audio_seconds,
                        held.characters,
                        held.audio_seconds,
                        held.organization_id,
                        held.month,
                    ],
                )
            ),
            None,
        )


# ── Warnings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _warn(organization: Organization, limits: Limits, period: QuotaPeriod, *, refused: bool = False) -> None:
    """Has owners and admins told when 80 or 100 % are used: once a month each, by whoever sets the mark.

    A refusal counts as 100 % from 80 % on: texts seldom end exactly at the limit.
    """
    from analytics import selectors
    from analytics.tasks import quota_warning
    from webhooks import events
    from webhooks.models import Event

    share = share_used(limits, period)
    level = next((level for level in LEVELS if share * 100 >= level), None)
    if level is not None and refused:
        level = 100
    if level is None or getattr(period, f"notified_{level}"):
        return
    marks = {"notified_80": True} | ({"notified_100": True} if level == 100 else {})
    with transaction.atomic():
        if QuotaPeriod.objects.filter(id=period.id, **{f"notified_{level}": False}).update(**marks):
            quota_warning.defer(organization_id=str(organization.id), level=level)
            events.publish(
                organization_id=organization.id,
                event=Event.QUOTA_EXCEEDED if level == 100 else Event.QUOTA_WARNING,
                data=lambda: {"level": level, **selectors.quota_state(organization=organization)},
            )


def warn_of_refusal(organization: Organization) -> None:
    period = period_of(organization.id)
    if period is not None:
        _warn(organization, limits_of(organization), period, refused=True)


def share_used(limits: Limits, period: QuotaPeriod) -> float:
    """0–1 and above, of the limit that is nearest to its end."""
    spent = used(period)
    pairs = (
        (spent.characters, limits.characters),
        (spent.audio_seconds, limits.audio_seconds),
        (limits.cost(spent.characters, spent.audio_seconds), limits.budget),
    )
    return max((float(part) / float(whole) if whole else 1.0 for part, whole in pairs if whole is not None), default=0)


# ── Months ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def month_of(moment: datetime) -> date:
    """The first day of its month (UTC)."""
    return moment.astimezone(UTC).date().replace(day=1)


def current_month() -> date:
    return month_of(timezone.now())


def resets_at(month: date) -> datetime:
    """The moment at which the next month begins."""
    return datetime.combine((month + timedelta(days=32)).replace(day=1), time.min, UTC)


def period_of(organization_id: UUID, month: date | None = None) -> QuotaPeriod | None:
    """The month's row; None where no limit has needed one."""
    return QuotaPeriod.objects.filter(organization_id=organization_id, month=month or current_month()).first()


def _period(organization_id: UUID, month: date) -> QuotaPeriod:
    """The month's row; one that is new starts from the usage records."""
    row = period_of(organization_id, month)
    if row is None:
        fields = _recorded(organization_id, month)
        row, _ = QuotaPeriod.objects.get_or_create(organization_id=organization_id, month=month, defaults=fields)
    return row


def used(period: QuotaPeriod) -> Amounts:
    return Amounts(period.used_characters, period.used_audio_seconds)


def reserved(period: QuotaPeriod) -> Amounts:
    return Amounts(period.reserved_characters, period.reserved_audio_seconds)


def used_by_records(organization_id: UUID, month: date) -> Amounts:
    """What the usage records of a month add up to."""
    days = UsageDay.objects.filter(organization_id=organization_id, day__gte=month, day__lt=resets_at(month).date())
    sums = days.aggregate(
        characters=Sum("characters", filter=Q(task=Task.TTS)),
        audio_seconds=Sum("audio_seconds", filter=Q(task=Task.STT)),
    )
    return Amounts.of(characters=sums["characters"] or 0, audio_seconds=float(sums["audio_seconds"] or 0))


def _recorded(organization_id: UUID, month: date) -> dict[str, Any]:
    amounts = used_by_records(organization_id, month)
    return {"used_characters": amounts.characters, "used_audio_seconds": amounts.audio_seconds}


def _recount(organization_id: UUID) -> None:
    """Sets this month's use to what the records say. Whoever settles meanwhile waits for the row, and adds to it."""
    rows = QuotaPeriod.objects.filter(organization_id=organization_id, month=current_month())
    if rows.select_for_update().first() is not None:
        rows.update(**_recorded(organization_id, current_month()), notified_80=False, notified_100=False)
