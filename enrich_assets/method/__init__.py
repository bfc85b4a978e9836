"""The science: arrays in, arrays out. torch, numpy, scipy; no dagster, mlflow, duckdb, no paths."""
