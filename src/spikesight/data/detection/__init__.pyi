from .annotated_images import AnnotatedImage, ObjectSource
from .augmentation import ObjectAugmentation
from .config import ObjectConfig
from .event_config import EventObjectConfig
from .event_preprocessing import EventObjectAugmentation, EventObjectPreprocessing
from .loaders import (
    FittedObjects,
    ObjectBatches,
    ObjectEvaluationBatches,
    ObjectLoaders,
    build_object_evaluation_loader,
    build_object_loaders,
)
from .preparation import (
    AnyObjectPreprocessing,
    fields_of_objects,
    object_preprocessing_kind,
)
from .preprocessing import Fit, ObjectPreprocessing
from .sources import object_part_of, read_objects

__all__ = [
    "AnnotatedImage",
    "AnyObjectPreprocessing",
    "EventObjectAugmentation",
    "EventObjectConfig",
    "EventObjectPreprocessing",
    "Fit",
    "FittedObjects",
    "ObjectAugmentation",
    "ObjectBatches",
    "ObjectConfig",
    "ObjectEvaluationBatches",
    "ObjectLoaders",
    "ObjectPreprocessing",
    "ObjectSource",
    "build_object_evaluation_loader",
    "build_object_loaders",
    "fields_of_objects",
    "object_part_of",
    "object_preprocessing_kind",
    "read_objects",
]
