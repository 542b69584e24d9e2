from .charts import Curve, bar_chart, legend, line_chart
from .page import Tile, page, paragraph, section, table, tiles
from .pictures import Guess, guess_grid, heat_map, picture, spike_maps
from .training_curves import Run, training_curves

__all__ = [
    "Curve",
    "Guess",
    "Run",
    "Tile",
    "bar_chart",
    "guess_grid",
    "heat_map",
    "legend",
    "line_chart",
    "page",
    "paragraph",
    "picture",
    "section",
    "spike_maps",
    "table",
    "tiles",
    "training_curves",
]
