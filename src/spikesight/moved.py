"""Modules under the names that they had in version 0.1; importing one by it warns."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_MOVED = {
    "data.augmentation": "data.photos.augmentation",
    "data.cifar": "data.photos.cifar",
    "data.class_folders": "data.photos.class_folders",
    "data.decoding": "data.photos.decoding",
    "data.digits": "data.photos.digits",
    "data.idx": "data.photos.idx",
    "data.normalisation": "data.photos.normalisation",
    "data.painted_digits": "data.photos.painted_digits",
    "data.pickled_arrays": "data.photos.pickled_arrays",
    "data.preprocessing": "data.photos.preprocessing",
    "data.randaugment": "data.photos.randaugment",
    "demo_commands": "commands.demo",
    "demo_scenes": "demo.scenes",
    "deployment.arithmetic": "deployment.runtime.arithmetic",
    "deployment.audit_report": "costs.audit",
    "deployment.exact_forms": "deployment.export.exact_forms",
    "deployment.exporting": "deployment.export.exporting",
    "deployment.integer_execution": "deployment.runtime.integers",
    "deployment.network_check": "deployment.spk.check",
    "deployment.network_energy": "costs.networks",
    "deployment.nir_export": "deployment.export.nir",
    "deployment.onnx_export": "deployment.export.onnx",
    "deployment.onnx_runtime": "deployment.export.onnx_runtime",
    "deployment.onnx_segmenter": "deployment.export.onnx_segmenter",
    "deployment.openvino_arithmetic": "deployment.export.openvino_arithmetic",
    "deployment.openvino_export": "deployment.export.openvino",
    "deployment.openvino_runtime": "deployment.export.openvino_runtime",
    "deployment.proved_runtime": "deployment.export.proved_runtime",
    "deployment.sampling": "deployment.runtime.sampling",
    "deployment.segmenter_nodes": "deployment.runtime.segmenter",
    "deployment.self_test": "deployment.export.self_test",
    "deployment.spike_execution": "deployment.runtime.spikes",
    "deployment.spk_file": "deployment.spk.file",
    "deployment.spk_nodes": "deployment.spk.nodes",
    "deployment_commands": "commands.networks",
    "event_commands": "commands.events",
    "models.segmenter_trunk": "models.trunks",
    "models.spike2former.output": "segmentation_outputs",
    "passes.attention_energy": "costs.attention",
    "passes.energy_report": "costs.models",
    "passes.fan_out": "costs.fan_out",
    "passes.operation_energy": "costs.prices",
    "passes.text_table": "reports.text_table",
    "reports.demo_page": "demo.page",
    "reports.deployment_part": "demo.deployment_part",
    "reports.energy_page": "costs.page",
    "reports.reconstructions": "training.tasks.masked_image.pictures",
    "reports.scenes_part": "demo.scenes_part",
    "reports.verification_part": "demo.verification_part",
    "training.any_form": "training.runs.folder",
    "training.calibration_inputs": "training.tasks.validation",
    "training.checkpoint": "training.runs.checkpoint",
    "training.command_words": "commands.words",
    "training.commands": "commands.training",
    "training.data_summary": "training.runs.checkpoint",
    "training.description": "training.runs.description",
    "training.evaluation": "training.tasks.classification.evaluation",
    "training.figures": "training.tasks.figures",
    "training.kinds": "training.tasks.table",
    "training.masked_image_evaluation": "training.tasks.masked_image.evaluation",
    "training.photo_recipes": "training.tasks.classification.choices",
    "training.prediction": "training.tasks.classification.prediction",
    "training.prediction_tables": "training.tasks.prediction_tables",
    "training.preparation": "training.runs.preparation",
    "training.processes": "training.runs.processes",
    "training.run_folder": "training.runs.folder",
    "training.run_lock": "training.runs.lock",
    "training.scene_card": "training.runs.card",
    "training.scene_recipes": "training.tasks.segmentation.choices",
    "training.segmentation_evaluation": "training.tasks.segmentation.evaluation",
    "training.segmentation_prediction": "training.tasks.segmentation.prediction",
    "training.segmenter_pictures": "training.tasks.segmentation.pictures",
    "training.starting_weights": "training.runs.starting_weights",
    "training.storage": "training.runs.storage",
    "training.tasks.building": "training.tasks.table",
    "training.tasks.panoptic": "training.tasks.segmentation.task",
    "training.tasks.semantic": "training.tasks.segmentation.task",
    "training.validation": "training.tasks.validation",
    "training.warm_start": "passes.warm_start",
}
# Those with functions that took other arguments, which training/old_calls.py takes still.
_CALLED_OTHERWISE = {
    "training.prediction",
    "training.scene_card",
    "training.segmentation_evaluation",
    "training.segmentation_prediction",
    "training.segmenter_pictures",
    "training.validation",
}


class _OldNames(MetaPathFinder, Loader):
    """Finds a module by its old name; asked only for names that nothing else knows."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module that has moved."""
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == "spikesight" and name in _MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Puts the module in the place of the empty one, or its content and old calls into it."""
        old = module.__name__
        name = old.partition(".")[2]
        new = "spikesight." + _MOVED[name]
        warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=2)
        found = importlib.import_module(new)
        if name not in _CALLED_OTHERWISE:
            sys.modules[old] = found
            return
        calls = importlib.import_module("spikesight.training.old_calls").CALLS[name]
        content = {key: value for key, value in vars(found).items() if not key.startswith("__")}
        vars(module).update({**content, **calls})


def find_old_names() -> None:
    """Makes Python find the modules by their old names too."""
    sys.meta_path.append(_OldNames())
