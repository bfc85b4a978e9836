"""The core: one declaration of each asset (`step`, `reads`), one graph of them, one planner, and the making of a cell.

Nothing here knows of Dagster: `defs` turns declarations into what Dagster sees, `running` executes what the planner yields.
"""
