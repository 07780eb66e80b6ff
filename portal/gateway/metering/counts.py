"""Where quotas are counted: in the database, or in Redis where there is one. Both take all of a call or nothing of it.

A count may only grow while it stays within the limit, and that is decided by the statement that makes it grow: an
UPDATE with the limit in its condition, or a script that Redis runs as one. So calls at the same time cannot both take
what is left. A count that is not there yet begins with what the usage of its window adds up to, which is nothing at the
beginning of a window, and the truth for a quota that is set, or a Redis that lost its memory, in the middle of one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, reduce
from operator import or_
from typing import Protocol

import redis
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from portal.gateway import engines
from portal.models import Kind, Quota, QuotaCount, Unit, Usage, Window
from portal.models.quotas import MICRO

logger = logging.getLogger(__name__)

TRANSFERS = (Kind.DOWNLOAD, Kind.UPLOAD)
SECONDS = 2.0
"""How long Redis may take to answer."""
KEPT = 3600
"""Seconds that a count stays in Redis after its window, for calls that end late."""


class Uncounted(engines.Unavailable):
    """Quotas cannot be counted now, so the call is not made: counting it later could spend more than there is."""


@dataclass
class Hold:
    """What one call takes of one quota's window: `held` before it runs, and `used` is the count after that."""

    quota: Quota
    holder: int
    begins_at: datetime
    ends_at: datetime
    held: int
    used: int = 0
    generation: str = ""

    @property
    def left(self) -> int:
        """Return what the quota had left after this was taken."""
        return max(0, self.quota.limit - self.used)


@dataclass
class Full(Exception):
    """The quota of this hold has no room for it; `used` is its count."""

    hold: Hold
    used: int = field(default=0)


class Counts(Protocol):
    """What holds counts: `take` all of the holds or raise Full, `settle` each by a difference, `read` the counts."""

    def take(self, holds: Sequence[Hold]) -> None:
        """Count what every hold holds, or raise Full and count nothing; raises Uncounted where it cannot be told."""

    def settle(self, hold: Hold, actual: int) -> None:
        """Let the count hold what was used in place of what was held, and note on the hold what it is now."""

    def read(self, holds: Sequence[Hold]) -> None:
        """Note on each hold what its count is now."""


def of_site() -> Counts:
    """Return where this site counts."""
    return _redis(settings.CACHE_URL) if settings.CACHE_URL else Database()


def spent(holds: Sequence[Hold]) -> list[int]:
    """Return what the usage of each hold's window adds up to, in its quota's unit, in one query for all of them."""
    chosen = {f"of_{number}": _usage_of(hold) for number, hold in enumerate(holds)}
    if not chosen:
        return []
    sums = {
        name: Count("pk", filter=rule) if amount is None else Sum(amount, filter=rule, default=0)
        for name, (rule, amount) in chosen.items()
    }
    anything = reduce(or_, (rule for rule, _amount in chosen.values()))
    found = Usage.objects.filter(anything).order_by().aggregate(**sums)
    return [
        int(found[name] * (MICRO if hold.quota.unit == Unit.MONEY else 1))
        for name, hold in zip(chosen, holds, strict=True)
    ]


def _usage_of(hold: Hold) -> tuple[Q, F | None]:
    """Return which rows of usage count for a hold, and what of each; None where each row counts as one."""
    quota = hold.quota
    rule = Q(at__gte=hold.begins_at, at__lt=hold.ends_at)
    if quota.subject != Quota.Subject.ORGANISATION:
        rule &= Q(**{quota.subject: getattr(quota, f"{quota.subject}_id")})
    if hold.holder:
        rule &= Q(person=hold.holder)
    transfers = Q(kind__in=TRANSFERS)
    if quota.unit == Unit.BYTES:
        return rule & transfers, F("bytes")
    amount = {Unit.TOKENS: F("prompt_tokens") + F("completion_tokens"), Unit.MONEY: F("cost")}.get(Unit(quota.unit))
    return rule & ~transfers, amount


_TABLE = QuotaCount._meta.db_table
_WHERE = "quota_id = %s AND holder = %s AND begins_at = %s"
_TAKE = f"UPDATE {_TABLE} SET used = used + %s WHERE {_WHERE} AND used + %s <= %s RETURNING used"  # noqa: S608
_SETTLE = f"UPDATE {_TABLE} SET used = used + %s WHERE {_WHERE} RETURNING used"  # noqa: S608


class Database:
    """Counts are rows; the statement that takes names the limit, so that the row's own lock decides who was first."""

    def take(self, holds: Sequence[Hold]) -> None:
        """Take in a transaction of its own, the quotas in one order, so that two calls never wait for each other."""
        with transaction.atomic():
            for hold in holds:
                if self._took(hold):
                    continue
                used = self._count(hold)
                if used is None:
                    self._begin(hold)
                    if self._took(hold):
                        continue
                    used = self._count(hold)
                raise Full(hold, used)

    def settle(self, hold: Hold, actual: int) -> None:
        """Change the count within the transaction that is open."""
        with connection.cursor() as cursor:
            cursor.execute(_SETTLE, [actual - hold.held, *_place(hold)])
            for (used,) in cursor.fetchall():
                hold.used = used

    def read(self, holds: Sequence[Hold]) -> None:
        """Read all counts in one query; one that is not there yet is summed up."""
        rows = QuotaCount.objects.filter(
            quota__in=[hold.quota.pk for hold in holds], begins_at__in={hold.begins_at for hold in holds}
        )
        known = {(row.quota_id, row.holder, row.begins_at): row.used for row in rows}
        for hold in holds:
            hold.used = known.get((hold.quota.pk, hold.holder, hold.begins_at), 0)
        new = [hold for hold in holds if (hold.quota.pk, hold.holder, hold.begins_at) not in known]
        for hold, used in zip(new, spent(new), strict=True):
            hold.used = used

    def _took(self, hold: Hold) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, [hold.held, *_place(hold), hold.held, hold.quota.limit])
            found = cursor.fetchall()
        for (used,) in found:
            hold.used = used
        return bool(found)

    @staticmethod
    def _begin(hold: Hold) -> None:
        row = QuotaCount(quota=hold.quota, holder=hold.holder, begins_at=hold.begins_at, used=spent([hold])[0])
        # Two calls may be the first: the second waits for the first one's row and adds to that.
        QuotaCount.objects.bulk_create([row], ignore_conflicts=True)

    @staticmethod
    def _count(hold: Hold) -> int | None:
        rows = QuotaCount.objects.filter(quota=hold.quota, holder=hold.holder, begins_at=hold.begins_at)
        return rows.values_list("used", flat=True).first()


def _place(hold: Hold) -> list:
    return [hold.quota.pk, hold.holder, connection.ops.adapt_datetimefield_value(hold.begins_at)]


# A count is a hash: what is used, and a generation that a new life of Redis does not know.
_TAKE_ALL = """
for i, key in ipairs(KEYS) do
  local used = redis.call('HGET', key, 'used')
  if not used then return {-1, i} end
  if tonumber(used) + tonumber(ARGV[i * 2 - 1]) > tonumber(ARGV[i * 2]) then return {0, i, used} end
end
local found = {1}
for i, key in ipairs(KEYS) do
  found[#found + 1] = redis.call('HINCRBY', key, 'used', ARGV[i * 2 - 1])
  found[#found + 1] = redis.call('HGET', key, 'generation')
end
return found
"""
_BEGIN = """
if redis.call('HSETNX', KEYS[1], 'used', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'generation', ARGV[2])
  redis.call('EXPIREAT', KEYS[1], ARGV[3])
end
return 1
"""
# What began before Redis lost its memory is not in the new count: it takes its place with all that it used.
_SETTLE_ONE = """
local generation = redis.call('HGET', KEYS[1], 'generation')
if not generation then return false end
local change = ARGV[1]
if generation ~= ARGV[3] then change = ARGV[2] end
return redis.call('HINCRBY', KEYS[1], 'used', change)
"""


class Redis:
    """Counts are in Redis, and each script is run by it as one; the database is asked only where a count begins."""

    def __init__(self, url: str):
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 1),
            decode_responses=True,
        )
        self._take, self._begin, self._settle = map(self._client.register_script, (_TAKE_ALL, _BEGIN, _SETTLE_ONE))

    def take(self, holds: Sequence[Hold]) -> None:
        """Take all at once; what Redis does not know is summed up and put there first."""
        arguments = [number for hold in holds for number in (hold.held, hold.quota.limit)]
        try:
            while True:
                answer = self._take(keys=[_key(hold) for hold in holds], args=arguments)
                if answer[0] != -1:
                    break
                missing = holds[answer[1] - 1]
                gone = int(missing.ends_at.timestamp()) + KEPT
                self._begin(keys=[_key(missing)], args=[spent([missing])[0], secrets.token_hex(8), gone])
        except redis.RedisError as error:
            logger.error("Redis does not count quotas: %s", error)
            raise Uncounted(
                "Quotas cannot be counted right now, so the call was not made. Try again in a minute."
            ) from error
        if answer[0] == 0:
            raise Full(holds[answer[1] - 1], int(answer[2]))
        for hold, used, generation in zip(holds, answer[1::2], answer[2::2], strict=True):
            hold.used, hold.generation = int(used), generation

    def settle(self, hold: Hold, actual: int) -> None:
        """Change the count; where Redis is away, what was held stays counted until the window ends."""
        try:
            used = self._settle(keys=[_key(hold)], args=[actual - hold.held, actual, hold.generation])
        except redis.RedisError as error:
            logger.error("Redis did not settle the count of quota %s: %s", hold.quota.pk, error)
            return
        hold.used = hold.used if used is None else int(used)

    def read(self, holds: Sequence[Hold]) -> None:
        """Read all counts at once; what Redis does not know, or cannot tell, is summed up."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for hold in holds:
                    pipeline.hget(_key(hold), "used")
                found = pipeline.execute()
        except redis.RedisError:
            found = [None] * len(holds)
        for hold, used in zip(holds, found, strict=True):
            hold.used = int(used or 0)
        new = [hold for hold, used in zip(holds, found, strict=True) if used is None]
        for hold, used in zip(new, spent(new), strict=True):
            hold.used = used


def _key(hold: Hold) -> str:
    return f"gatehouse:quota:{hold.quota.pk}:{hold.holder}:{int(hold.begins_at.timestamp())}"


@cache
def _redis(url: str) -> Redis:
    return Redis(url)


def hold(quota: Quota, person, held: int = 0, at: datetime | None = None) -> Hold:
    """Return the hold of so much of the window that it is now, or that it was at that moment."""
    begins_at, ends_at = Window(quota.window).around(at or timezone.now())
    return Hold(quota, quota.holder_of(person), begins_at, ends_at, held)
