"""Rules that see labels, of the frames chosen before and of no other: one a file, one base. The door: `grow`, an order by such a rule.

They are kept apart from the label-blind rules in `rules`: a ranking that may see no label cannot call them.
"""

from enrich_assets.method.ranking.acquisition.base import LabelAwareRule, NetworkView, Scores
from enrich_assets.method.ranking.acquisition.growing import Learner, Progress, Purchases, grow, trainings

__all__ = ["LabelAwareRule", "Learner", "NetworkView", "Progress", "Purchases", "Scores", "grow", "trainings"]
