"""What is kept: frames, vectors, tables, weights, the published DuckDB, the MLflow recorder, digests."""
