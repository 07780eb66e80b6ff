"""What the organisation is trying to do, and with which data."""

from projects.models.datasets import Dataset, DatasetClearance, DatasetVersion
from projects.models.repositories import Blob, Commit, CommitFile, Ref, Repository
from projects.models.teams import StrategicGoal, Team
from projects.models.use_cases import Objective, Stakeholder, UseCase

__all__ = [
    "Blob",
    "Commit",
    "CommitFile",
    "Dataset",
    "DatasetClearance",
    "DatasetVersion",
    "Objective",
    "Ref",
    "Repository",
    "Stakeholder",
    "StrategicGoal",
    "Team",
    "UseCase",
]
