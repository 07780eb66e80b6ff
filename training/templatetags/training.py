"""Reads an evaluation for a page that only has the subject, such as a review."""

from django import template

from training.models import Evaluation
from training.models.evaluations import written
from training.views import reports

register = template.Library()


@register.simple_tag
def evaluation_report(job):
    """Return the report of a job's evaluation, or None."""
    evaluation = Evaluation.objects.filter(job=job).select_related("job").first()
    return reports.read(evaluation) if evaluation else None


@register.filter
def points(share) -> str:
    """Return a difference of shares in percentage points, with its sign: 0.034 -> "+3.4"."""
    return f"{share * 100:+.1f}"


@register.filter
def figure(value, unit) -> str:
    """Return a figure as it is shown: a share in per cent, a number with four digits."""
    return written(value, unit)


@register.filter
def gain(difference, unit) -> str:
    """Return a difference of figures with its sign: shares in percentage points, numbers with three digits."""
    return points(difference) if unit == "share" else f"{difference:+.3g}"


@register.filter
def rate(per_second) -> str:
    """Return how many texts a second with two digits, also below one: 0.034, 3.4, 340."""
    return f"{per_second:.2g}" if per_second < 100 else f"{per_second:,.0f}"


@register.filter
def p_value(p) -> str:
    """Return a p value as papers print it: two significant digits, and "< 0.001" below that."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"
