from .background import BackgroundRun
from .config import ModelConfig, TrainConfig, from_mapping
from .interruption import TrainingInterrupted
from .mixing import MixConfig
from .optimization import (
    EmaConfig,
    OptimizerConfig,
    ScheduleConfig,
    parameter_groups,
)
from .runs.checkpoint import Card
from .runs.folder import resolve_model_folder
from .seeds import SeedsResult, train_seeds
from .tasks.classification.evaluation import Evaluation, evaluate
from .trainer import Trainer, TrainResult, train

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
