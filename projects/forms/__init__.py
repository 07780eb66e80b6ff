"""What people fill in about teams, goals, use cases and datasets: shape and scope; nothing is saved here."""

from projects.forms.datasets import (
    LICENCES,
    ClearanceForm,
    ColumnsForm,
    DatasetFilter,
    DatasetForm,
    ReadingForm,
    ShareForm,
    UploadForm,
    WithdrawForm,
)
from projects.forms.fields import MAX_TEXT, Form, PersonField, end_of
from projects.forms.teams import GoalForm, MemberForm, TeamForm
from projects.forms.use_cases import (
    GoalsForm,
    MoveForm,
    ObjectiveForm,
    ProposalForm,
    StakeholderForm,
    UseCaseFilter,
    UseCaseForm,
)

__all__ = [
    "LICENCES",
    "MAX_TEXT",
    "ClearanceForm",
    "ColumnsForm",
    "DatasetFilter",
    "DatasetForm",
    "Form",
    "GoalForm",
    "GoalsForm",
    "MemberForm",
    "MoveForm",
    "ObjectiveForm",
    "PersonField",
    "ProposalForm",
    "ReadingForm",
    "ShareForm",
    "StakeholderForm",
    "TeamForm",
    "UploadForm",
    "UseCaseFilter",
    "UseCaseForm",
    "WithdrawForm",
    "end_of",
]
