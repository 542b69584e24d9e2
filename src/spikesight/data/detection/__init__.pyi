from .annotated_images import AnnotatedImage, ObjectSource
from .augmentation import ObjectAugmentation
from .config import ObjectConfig
from .loaders import (
    FittedObjects,
    ObjectBatches,
    ObjectEvaluationBatches,
    ObjectLoaders,
    build_object_evaluation_loader,
    build_object_loaders,
)
from .preprocessing import Fit, ObjectPreprocessing
from .sources import read_objects

__all__ = [
    "AnnotatedImage",
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
    "read_objects",
]
