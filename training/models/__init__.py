"""What turns a frozen dataset into a registered model: base models, jobs, their events, evaluations, versions."""

from training.models.base_models import BaseModel
from training.models.evaluations import Evaluation
from training.models.jobs import JobEvent, TrainingJob
from training.models.registry import ModelVersion, Publication, RegisteredModel

__all__ = [
    "BaseModel",
    "Evaluation",
    "JobEvent",
    "ModelVersion",
    "Publication",
    "RegisteredModel",
    "TrainingJob",
]
