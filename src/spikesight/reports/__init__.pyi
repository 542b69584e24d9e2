from .charts import Curve, bar_chart, legend, line_chart
from .page import Card, cards, page, paragraph, section, table
from .pictures import Guess, guess_grid, heat_map, picture, spike_maps
from .training_curves import Run, training_curves

__all__ = [
    "Card",
    "Curve",
    "Guess",
    "Run",
    "bar_chart",
    "cards",
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
    "training_curves",
]
