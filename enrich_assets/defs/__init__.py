"""What Dagster sees: thin assets, checks, jobs, sensors, schedules, resources, partitions."""

import warnings

import dagster as dg

# Two-dimensional partitions and automation conditions are marked as beta; we pin the version we tested.
for category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=category)
