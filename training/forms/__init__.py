"""What people fill in about base models, jobs and publications: shape and scope; nothing is saved here."""

from training.forms.jobs import SETTING, JobFilter, JobForm
from training.forms.models import ImportForm, PublishForm, ReasonForm
from training.forms.pickers import OPTIONS, Picker

__all__ = ["OPTIONS", "SETTING", "ImportForm", "JobFilter", "JobForm", "Picker", "PublishForm", "ReasonForm"]
