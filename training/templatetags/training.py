"""Reads an evaluation for a page that only has the subject, such as a review."""

from django import template

from training.models import Evaluation
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
def p_value(p) -> str:
    """Return a p value as papers print it: two significant digits, and "< 0.001" below that."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"
