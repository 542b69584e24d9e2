"""Photos with masks: readers, composed scenes, augmentation and batches."""

from spikesight.data.segmentation.augmentation import SceneAugmentation
from spikesight.data.segmentation.coco_panoptic import PanopticWriter, extent, read_panoptic_json
from spikesight.data.segmentation.config import SceneConfig
from spikesight.data.segmentation.files import read_photo
from spikesight.data.segmentation.loaders import (
    EvaluationBatches,
    SceneLoaders,
    TrainingBatches,
    Truths,
    build_scene_evaluation_loader,
    build_scene_loaders,
)
from spikesight.data.segmentation.preprocessing import ScenePreprocessing, sample_crop
from spikesight.data.segmentation.scene import (
    VOID,
    ClassTable,
    Scene,
    SceneSource,
    Truth,
    semantic_truth,
)
from spikesight.data.segmentation.sources import part_of, read_scenes

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
