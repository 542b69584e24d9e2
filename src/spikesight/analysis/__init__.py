"""What QSD-Transformer argues with: sensitivity of modules, distribution of attention scores."""

from spikesight.analysis.scores import (
    ScoreDistribution,
    attention_scores,
    mutual_information,
    score_distribution,
    score_distributions,
)
from spikesight.analysis.sensitivity import (
    ModuleGroup,
    Sensitivity,
    module_groups,
    module_sensitivity,
)

__all__ = [
    "ModuleGroup",
    "ScoreDistribution",
    "Sensitivity",
    "attention_scores",
    "module_groups",
    "module_sensitivity",
    "mutual_information",
    "score_distribution",
    "score_distributions",
]
