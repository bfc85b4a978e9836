"""What Dagster sees: thin assets, checks, jobs, sensors, schedules, resources, partitions."""
