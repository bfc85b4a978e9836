"""The published DuckDB file: schema, views, writing and reading."""
