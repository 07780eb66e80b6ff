"""Small display tags: icons, statuses, people, times, numbers, and blocks that wrap a component around content.

Everything here turns a value into words; nothing reads the database or decides what a person may see.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import Any

from django import template
from django.template.context import Context
from django.template.loader import get_template
from django.templatetags.static import static
from django.utils import dateparse, timezone
from django.utils.dates import MONTHS_3
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, gettext, gettext_lazy, ngettext

register = template.Library()

# state -> (icon, word, tone). One table, so that a state looks the same on every page. Keys are the stored values of
# use cases, dataset versions, jobs, model versions, approval requests and single checks; where two lifecycles share
# a word they share its look too.
STATUSES: dict[str, tuple[str, Any, str]] = {
    # use cases
    "draft": ("edit", gettext_lazy("Draft"), "neutral"),
    "submitted": ("clock", gettext_lazy("Submitted"), "info"),
    "approved_for_development": ("check-circle", gettext_lazy("Approved for development"), "good"),
    "in_development": ("training", gettext_lazy("In development"), "info"),
    "piloting": ("flag", gettext_lazy("Piloting"), "info"),
    "live": ("check-circle", gettext_lazy("Live"), "good"),
    "on_hold": ("pause", gettext_lazy("On hold"), "warn"),
    "rejected": ("x-circle", gettext_lazy("Rejected"), "bad"),
    "retired": ("archive", gettext_lazy("Retired"), "neutral"),
    # dataset versions
    "received": ("upload", gettext_lazy("Received"), "neutral"),
    "importing": ("upload", gettext_lazy("Importing"), "info"),
    "imported": ("download", gettext_lazy("Imported"), "neutral"),
    "profiling": ("chart", gettext_lazy("Profiling"), "info"),
    "profiled": ("chart", gettext_lazy("Profiled"), "neutral"),
    "cleared": ("shield", gettext_lazy("Cleared"), "good"),
    "withdrawn": ("minus", gettext_lazy("Withdrawn"), "neutral"),
    # jobs
    "planned": ("document", gettext_lazy("Planned"), "neutral"),
    "refused": ("x-circle", gettext_lazy("Refused"), "bad"),
    "queued": ("clock", gettext_lazy("Queued"), "neutral"),
    "starting": ("play", gettext_lazy("Starting"), "info"),
    "running": ("play", gettext_lazy("Running"), "info"),
    "pausing": ("pause", gettext_lazy("Pausing"), "warn"),
    "paused": ("pause", gettext_lazy("Paused"), "warn"),
    "cancelling": ("stop", gettext_lazy("Cancelling"), "warn"),
    "cancelled": ("stop", gettext_lazy("Cancelled"), "neutral"),
    "succeeded": ("check-circle", gettext_lazy("Succeeded"), "good"),
    "failed": ("x-circle", gettext_lazy("Failed"), "bad"),
    # model versions
    "registered": ("model", gettext_lazy("Registered"), "neutral"),
    "evaluated": ("chart", gettext_lazy("Evaluated"), "info"),
    "in_review": ("review", gettext_lazy("In review"), "info"),
    "published": ("check-circle", gettext_lazy("Published"), "good"),
    "superseded": ("archive", gettext_lazy("Superseded"), "neutral"),
    "suspended": ("pause", gettext_lazy("Suspended"), "bad"),
    # approval requests and decisions
    "open": ("review", gettext_lazy("Waiting for review"), "info"),
    "pending": ("clock", gettext_lazy("Pending"), "info"),
    "approved": ("check-circle", gettext_lazy("Approved"), "good"),
    "changes_requested": ("edit", gettext_lazy("Changes requested"), "warn"),
    "commented": ("comment", gettext_lazy("Commented"), "neutral"),
    "void": ("x-circle", gettext_lazy("Void"), "warn"),
    "lapsed": ("x-circle", gettext_lazy("Lapsed"), "warn"),
    "expired": ("clock", gettext_lazy("Expired"), "warn"),
    "minimal": ("shield", gettext_lazy("Minimal"), "good"),
    "limited": ("shield", gettext_lazy("Limited"), "warn"),
    "high": ("shield", gettext_lazy("High"), "bad"),
    "revoked": ("x-circle", gettext_lazy("Revoked"), "bad"),
    "approve": ("check-circle", gettext_lazy("Approved"), "good"),
    "request_changes": ("edit", gettext_lazy("Changes requested"), "warn"),
    "reject": ("x-circle", gettext_lazy("Rejected"), "bad"),
    "proposed": ("clock", gettext_lazy("Proposed"), "info"),
    "declined": ("x-circle", gettext_lazy("Declined"), "bad"),
    # checks, people, services
    "met": ("check-circle", gettext_lazy("Met"), "good"),
    "missing": ("x-circle", gettext_lazy("Missing"), "bad"),
    "active": ("check-circle", gettext_lazy("Active"), "good"),
    "inactive": ("minus", gettext_lazy("Inactive"), "neutral"),
    "allowed": ("check-circle", gettext_lazy("Allowed"), "good"),
    "disallowed": ("lock", gettext_lazy("Not allowed"), "bad"),
    "blocked": ("lock", gettext_lazy("Blocked"), "bad"),
    "healthy": ("check-circle", gettext_lazy("Healthy"), "good"),
    "degraded": ("warning", gettext_lazy("Degraded"), "warn"),
    "down": ("x-circle", gettext_lazy("Down"), "bad"),
    "verified": ("shield", gettext_lazy("Verified"), "good"),
    "significant": ("check", gettext_lazy("Significant"), "good"),
    "not_significant": ("minus", gettext_lazy("Not significant"), "neutral"),
    # calls of models
    "answered": ("check-circle", gettext_lazy("Answered"), "good"),
    "helped": ("thumb", gettext_lazy("It helped"), "good"),
    "not_helped": ("x-circle", gettext_lazy("It did not help"), "warn"),
    "unavailable": ("warning", gettext_lazy("Unavailable"), "warn"),
    # emergency access, and reviews of who holds what
    "in_force": ("warning", gettext_lazy("In force"), "bad"),
    "to_review": ("clock", gettext_lazy("To be reviewed"), "info"),
    "overdue": ("warning", gettext_lazy("Overdue"), "bad"),
    "justified": ("check-circle", gettext_lazy("Justified"), "good"),
    "not_justified": ("x-circle", gettext_lazy("Not justified"), "bad"),
    "undecided": ("clock", gettext_lazy("Not decided"), "info"),
    "kept": ("check-circle", gettext_lazy("Kept"), "good"),
    "taken_away": ("x-circle", gettext_lazy("Taken away"), "bad"),
    "ended": ("minus", gettext_lazy("Ended meanwhile"), "neutral"),
    "closed": ("check-circle", gettext_lazy("Closed"), "neutral"),
    # erasures
    "waiting": ("clock", gettext_lazy("Waits for a second person"), "warn"),
    "erased": ("check-circle", gettext_lazy("Erased"), "neutral"),
    # classification of data
    "public": ("eye", gettext_lazy("Public"), "neutral"),
    "internal": ("lock", gettext_lazy("Internal"), "info"),
    "confidential": ("lock", gettext_lazy("Confidential"), "warn"),
    "restricted": ("lock", gettext_lazy("Restricted"), "bad"),
}
LIVE_STATES = frozenset({"starting", "running", "importing", "profiling", "cancelling", "pausing"})
TONE_ICONS = {"good": "check-circle", "warn": "warning", "bad": "x-circle", "info": "info", "neutral": "circle"}


@register.simple_tag
def icon(name: str, label: str = "", size: str = "") -> SafeString:
    """An icon of our sprite. Decorative unless `label` is given; `size` "l" is 24 px, else it follows the text."""
    return _icon(str(name), str(label), "icon icon-l" if size == "l" else "icon")


# A list draws the same few marks and people hundreds of times; what they look like depends on the arguments alone.
@lru_cache(maxsize=1024)
def _icon(name: str, label: str, css: str) -> SafeString:
    address = f"{static('img/icons.svg')}#{name}"
    if label:
        return format_html('<svg class="{}" role="img" aria-label="{}"><use href="{}"/></svg>', css, label, address)
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}"/></svg>', css, address)


@register.simple_tag
def status(value: Any, label: str = "", tone: str = "", icon_name: str = "") -> SafeString:
    """A state as icon, word and colour. `label`, `tone` and `icon_name` replace what the table of states says.

    A value that is in no table is shown neutrally with its own name, so that a new state is visible and not a 500.
    """
    key = str(getattr(value, "value", value) or "").lower()
    return _status(key, str(label), tone, icon_name, get_language())


@lru_cache(maxsize=1024)
def _status(key: str, label: str, tone: str, icon_name: str, language: str | None) -> SafeString:
    known_icon, word, known_tone = STATUSES.get(key, ("circle", key.replace("_", " ").capitalize() or "–", "neutral"))
    live = " badge-live" if key in LIVE_STATES else ""
    return format_html(
        '<span class="badge tone-{}{}" data-status="{}">{}{}</span>',
        tone or known_tone,
        live,
        key,
        icon(icon_name or (TONE_ICONS[tone] if tone and key not in STATUSES else known_icon)),
        label or word,
    )


@register.simple_tag
def short_digest(value: Any, length: int = 10, copy: bool = True) -> SafeString:
    """The first `length` characters of a hex digest, the whole of it on hover and behind the copy button."""
    text = str(value or "")
    if not text:
        return format_html('<span class="muted">{}</span>', "–")
    shown = text.removeprefix("sha256:")[:length]
    if not copy:
        return format_html('<code class="digest" title="{}">{}</code>', text, shown)
    return format_html(
        '<span class="digest"><code title="{}">{}</code><button type="button" class="btn btn-ghost btn-icon" '
        'data-copy="{}" aria-label="{}">{}</button></span>',
        text,
        shown,
        text,
        gettext("Copy %(digest)s") % {"digest": shown},
        icon("copy"),
    )


@register.simple_tag
def person(user: Any, avatar: bool = True) -> SafeString:
    """A person by name with their initials in a circle; accepts a user, a plain name, or None for the system."""
    return _person(_name_of(user), avatar)


@lru_cache(maxsize=4096)
def _person(name: str, avatar: bool) -> SafeString:
    if not avatar:
        return format_html('<span class="person">{}</span>', name)
    return format_html(
        '<span class="person"><span class="avatar" aria-hidden="true">{}</span><span>{}</span></span>',
        _initials(name),
        name,
    )


def _name_of(user: Any) -> str:
    if user is None or user == "":
        return gettext("System")
    if isinstance(user, str):
        return user
    full = getattr(user, "get_full_name", None)
    return str((full() if callable(full) else "") or getattr(user, "name", "") or getattr(user, "email", "") or user)


def _initials(name: str) -> str:
    words = [word for word in name.split("@")[0].replace(".", " ").split() if word[0].isalnum()]
    if not words:
        return "?"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


@register.simple_tag
def when(moment: Any, style: str = "relative") -> SafeString:
    """A moment as `<time>`: server's zone in the markup, the reader's zone once app.js has run, exact on hover.

    `style` is "relative" (3 hours ago), "datetime" (22 Nov 2026, 14:05) or "date". Accepts a datetime, a date,
    ISO text or None.
    """
    if isinstance(moment, str):
        moment = dateparse.parse_datetime(moment) or dateparse.parse_date(moment)
    if moment is None:
        return format_html('<span class="muted">{}</span>', "–")
    if not isinstance(moment, datetime.datetime):
        return format_html('<time datetime="{}">{}</time>', moment.isoformat(), _day(moment))
    if moment.tzinfo is None:
        moment = timezone.make_aware(moment)
    local = moment.astimezone(timezone.get_current_timezone())
    day = _day(local)
    clock = local.strftime("%H:%M:%S")
    shown = day if style == "date" else f"{day}, {clock[:5]}"
    return mark_safe(  # noqa: S308 - figures, words of ours, and the escaped name of a zone
        f'<time datetime="{moment.isoformat()}" data-time="{escape(style)}" '
        f'title="{day}, {clock} {escape(local.tzname() or "")}">{shown}</time>'
    )


def _day(day: datetime.date) -> str:
    """A day as "22 Nov 2026"; Django's own formatter reads its pattern anew for every date, ten times as slow."""
    return f"{day.day} {_month(day.month, get_language())} {day.year}"


@lru_cache(maxsize=256)
def _month(number: int, language: str | None) -> str:
    return escape(MONTHS_3[number].title())


@register.filter
def keeps_input(form) -> bool:
    """Return whether all that was typed into a form is drawn again; passwords never are."""
    return not any(getattr(field.field.widget, "input_type", "") == "password" for field in form)


@register.filter(name="bytes")
def bytes_(value: Any) -> str:
    """A size in bytes with a binary unit: 1536 -> "1.5 KiB"; anything that is not a number -> an en dash."""
    number = _number(value)
    if number is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024 or unit == "TiB":
            break
        number /= 1024
    decimals = 0 if unit == "B" or number >= 100 else 1
    return f"{_digits(number, decimals)} {unit}"


@register.filter
def duration(value: Any) -> str:
    """Seconds (or a timedelta) in the two largest units that matter: 3725 -> "1 h 2 min"; 0.25 -> "0.25 s"."""
    number = value.total_seconds() if isinstance(value, datetime.timedelta) else _number(value)
    if number is None:
        return "–"
    if number < 10:
        return f"{_digits(number, 0 if number == int(number) else 2)} s"
    whole = round(number)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(index for index, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def _digits(number: float, decimals: int) -> str:
    """The number with so many decimals, rounded: Django's own function cuts, so that 8 of 9 would read 88.8 %."""
    return number_format(round(number, decimals), decimals)


@register.filter
def percent(value: Any, decimals: int = 1) -> str:
    """A share between 0 and 1 as a percentage: 0.935 -> "93.5 %"."""
    number = _number(value)
    return "–" if number is None else f"{_digits(number * 100, decimals)} %"


@register.filter
def compact(value: Any) -> str:
    """A count in at most four characters and a unit: 1234 -> "1,234"; 22700000 -> "22.7 M"."""
    number = _number(value)
    if number is None:
        return "–"
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{_digits(scaled, 0 if abs(scaled) >= 100 else 1)} {unit}"
    if number == int(number):
        return number_format(int(number), 0, force_grouping=True)
    return _digits(number, 2)


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


@register.simple_tag
def count_of(number: int, capped_at: int = 10_000) -> str:
    """A count that the query stopped at: 10,001 with a cap of 10,000 reads "10,000+"."""
    if number > capped_at:
        return number_format(capped_at, 0, force_grouping=True) + "+"
    return number_format(number, 0, force_grouping=True)


@register.simple_tag
def results(number: int, capped_at: int = 10_000) -> str:
    """ "1 result", "25 results", "10,000+ results"."""
    shown = count_of(number, capped_at)
    return ngettext("%(number)s result", "%(number)s results", number) % {"number": shown}


@register.inclusion_tag("components/breadcrumb.html")
def breadcrumb(*pairs: Any) -> dict[str, Any]:
    """Label and address in turn; the last label stands alone: `{% breadcrumb "Models" "/models/" model.name %}`."""
    labels, addresses = pairs[0::2], [*pairs[1::2], ""]
    return {"items": [{"label": label, "url": url} for label, url in zip(labels, addresses, strict=False)]}


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: Any) -> str:
    """The current query string with `changes` made: a value of None or "" removes a parameter. Starts with "?"."""
    parameters = context["request"].GET.copy()
    for key, value in changes.items():
        if value is None or value == "":
            parameters.pop(key, None)
        else:
            parameters[key] = value
    encoded = parameters.urlencode()
    return f"?{encoded}" if encoded else "?"


@register.simple_tag(takes_context=True)
def sort_header(context: Context, label: str, key: str, css: str = "", parameter: str = "sort") -> SafeString:
    """A `<th>` whose link sorts by `key`, then by `-key`; forgets the cursor, since a cursor belongs to one order."""
    current = context["request"].GET.get(parameter, "")
    direction = {key: "ascending", f"-{key}": "descending"}.get(current, "none")
    address = query(context, **{parameter: f"-{key}" if direction == "ascending" else key, "cursor": None})
    mark = {"ascending": "chevron-up", "descending": "chevron-down", "none": "sort"}[direction]
    return format_html(
        '<th scope="col" class="{}" aria-sort="{}"><a class="sort" href="{}">{}{}</a></th>',
        css,
        direction,
        address,
        label,
        icon(mark),
    )


@register.simple_block_tag(takes_context=True)
def component(context: Context, content: str, name: str, **parameters: Any) -> str:
    """Wrap the content between the tags in `components/<name>.html`, which shows it as `{{ slot }}`.

    `{% component "card" title="Owners" %}...{% endcomponent %}`. For components without content use `{% include %}`.
    """
    values = {"slot": content, "request": context.get("request"), "csrf_token": context.get("csrf_token"), **parameters}
    return get_template(f"components/{name}.html").template.render(Context(values, autoescape=context.autoescape))


@register.filter
def split(value: str, separator: str = ",") -> Sequence[str]:
    """A text cut at `separator`, each part stripped; for short literal lists in templates."""
    return [part.strip() for part in str(value).split(separator) if part.strip()]


@register.filter
def key(mapping: Any, name: Any) -> Any:
    """`mapping[name]` for a name that is itself a variable; None when it is not there."""
    try:
        return mapping[name]
    except (KeyError, IndexError, TypeError):
        return None
