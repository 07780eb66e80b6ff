"""What only the site knows: usage, quotas, guardrails, feedback, and the views of lists that people keep and share."""

from portal.models.device_logins import DeviceLogin
from portal.models.feedback import Body, Feedback
from portal.models.guardrails import GuardrailPolicy
from portal.models.quotas import Quota, QuotaCount, QuotaRefusal, QuotaWarning, Unit, Window
from portal.models.saved_views import SavedView, UsualView
from portal.models.usage import Kind, Outcome, Usage

__all__ = [
    "Body",
    "DeviceLogin",
    "Feedback",
    "GuardrailPolicy",
    "Kind",
    "Outcome",
    "Quota",
    "QuotaCount",
    "QuotaRefusal",
    "QuotaWarning",
    "SavedView",
    "Unit",
    "Usage",
    "UsualView",
    "Window",
]
