from .analysis_pictures import draw_score_histograms, draw_sensitivity
from .charts import Curve, bar_chart, legend, line_chart
from .demo_page import DemoContent, SpikeExample, demo_page
from .deployment_part import (
    Deployment,
    LowBit,
    deployment_details,
    deployment_sentence,
    low_bit_sentence,
)
from .energy_page import energy_page
from .page import Card, cards, page, paragraph, section, table
from .pictures import Guess, guess_grid, heat_map, picture, spike_maps
from .scenes_part import (
    SceneOverlay,
    ScenePictures,
    SceneResult,
    scenes_part,
    scenes_sentence,
)
from .training_curves import Run, training_curves
from .verification_part import verification_details, verification_sentence

__all__ = [
    "Card",
    "Curve",
    "DemoContent",
    "Deployment",
    "Guess",
    "LowBit",
    "Run",
    "SceneOverlay",
    "ScenePictures",
    "SceneResult",
    "SpikeExample",
    "bar_chart",
    "cards",
    "demo_page",
    "deployment_details",
    "deployment_sentence",
    "draw_score_histograms",
    "draw_sensitivity",
    "energy_page",
    "guess_grid",
    "heat_map",
    "legend",
    "line_chart",
    "low_bit_sentence",
    "page",
    "paragraph",
    "picture",
    "scenes_part",
    "scenes_sentence",
    "section",
    "spike_maps",
    "table",
    "training_curves",
    "verification_details",
    "verification_sentence",
]
