from .background import BackgroundRun
from .config import ModelConfig, TrainConfig, from_mapping
from .interruption import TrainingInterrupted
from .mixing import MixConfig
from .objective import Objective
from .optimization import (
    EmaConfig,
    OptimizerConfig,
    ScheduleConfig,
    parameter_groups,
)
from .pipelines import pipeline
from .runs.card import Card
from .runs.folder import resolve_model_folder
from .seeds import SeedsResult, train_seeds
from .tasks.base import Pipeline, Prepared, Task
from .tasks.classification.evaluation import Evaluation, evaluate
from .tasks.classification.pipeline import ClassifierPipeline
from .tasks.classification.task import ClassificationTask
from .tasks.figures import Figures
from .tasks.images import ImageTask
from .tasks.measuring import show_all
from .tasks.options import PredictionOptions, ValidationOptions
from .tasks.segmentation.pipeline import SegmenterPipeline
from .tasks.table import register_task
from .tasks.validation import validate
from .trainer import Trainer, TrainResult, train

__all__ = [
    "BackgroundRun",
    "Card",
    "ClassificationTask",
    "ClassifierPipeline",
    "EmaConfig",
    "Evaluation",
    "Figures",
    "ImageTask",
    "MixConfig",
    "ModelConfig",
    "Objective",
    "OptimizerConfig",
    "Pipeline",
    "PredictionOptions",
    "Prepared",
    "ScheduleConfig",
    "SeedsResult",
    "SegmenterPipeline",
    "Task",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "TrainingInterrupted",
    "ValidationOptions",
    "evaluate",
    "from_mapping",
    "parameter_groups",
    "pipeline",
    "register_task",
    "resolve_model_folder",
    "show_all",
    "train",
    "train_seeds",
    "validate",
]
