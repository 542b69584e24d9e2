"""Training, validation and prediction."""

from spikesight.training.background import BackgroundRun
from spikesight.training.checkpoint import Card
from spikesight.training.config import ModelConfig, TrainConfig, from_mapping
from spikesight.training.evaluation import Evaluation, evaluate
from spikesight.training.interruption import TrainingInterrupted
from spikesight.training.mixing import MixConfig
from spikesight.training.optimization import (
    EmaConfig,
    OptimizerConfig,
    ScheduleConfig,
    parameter_groups,
)
from spikesight.training.run_folder import resolve_model_folder
from spikesight.training.seeds import SeedsResult, train_seeds
from spikesight.training.trainer import Trainer, TrainResult, train

__all__ = [
    "BackgroundRun",
    "Card",
    "EmaConfig",
    "Evaluation",
    "MixConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "SeedsResult",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "TrainingInterrupted",
    "evaluate",
    "from_mapping",
    "parameter_groups",
    "resolve_model_folder",
    "train",
    "train_seeds",
]
