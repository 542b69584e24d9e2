from .batches import BatchLoader
from .config import DataConfig
from .errors import CorruptImageError, CorruptRecordingError, DataError
from .events.preprocessing import EventPreprocessing
from .loaders import Loaders, build_evaluation_loader, build_loaders
from .own_sets import register_dataset, register_objects, register_scenes
from .photos.augmentation import EvaluationTransform, TrainingTransform
from .photos.preprocessing import Preprocessing
from .prediction import PredictionImages
from .sampling import EpochSampler, EvaluationSampler
from .sources import ArraySource, EncodedSource

__all__ = [
    "ArraySource",
    "BatchLoader",
    "CorruptImageError",
    "CorruptRecordingError",
    "DataConfig",
    "DataError",
    "EncodedSource",
    "EpochSampler",
    "EvaluationSampler",
    "EvaluationTransform",
    "EventPreprocessing",
    "Loaders",
    "PredictionImages",
    "Preprocessing",
    "TrainingTransform",
    "build_evaluation_loader",
    "build_loaders",
    "register_dataset",
    "register_objects",
    "register_scenes",
]
