"""What executes: the driver of `enrich run`, its engines, the forecast of `enrich plan`, and `enrich lineage`."""
