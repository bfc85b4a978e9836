"""`enrich plan`: what a run would do and what it would cost.

It walks the very stages that a run walks, asks the same planner, and takes what each group would make as pending for the next ones.
What is not there yet (how many frames a file holds) is estimated; costs come from a short measurement and from what cells took before.
"""

from enrich_assets.running.forecast.plan import Plan, make_plan, plan_text
from enrich_assets.running.forecast.prices import PlannedStage

__all__ = ["Plan", "PlannedStage", "make_plan", "plan_text"]
