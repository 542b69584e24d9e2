from .augmentation import SceneAugmentation
from .coco_panoptic import PanopticWriter, extent, read_panoptic_json
from .config import SceneConfig
from .files import read_photo
from .loaders import (
    EvaluationBatches,
    SceneLoaders,
    TrainingBatches,
    Truths,
    build_scene_evaluation_loader,
    build_scene_loaders,
)
from .preprocessing import ScenePreprocessing, sample_crop
from .scene import (
    VOID,
    ClassTable,
    Scene,
    SceneSource,
    Truth,
    semantic_truth,
)
from .sources import part_of, read_scenes

__all__ = [
    "VOID",
    "ClassTable",
    "EvaluationBatches",
    "PanopticWriter",
    "Scene",
    "SceneAugmentation",
    "SceneConfig",
    "SceneLoaders",
    "ScenePreprocessing",
    "SceneSource",
    "TrainingBatches",
    "Truth",
    "Truths",
    "build_scene_evaluation_loader",
    "build_scene_loaders",
    "extent",
    "part_of",
    "read_panoptic_json",
    "read_photo",
    "read_scenes",
    "sample_crop",
    "semantic_truth",
]
