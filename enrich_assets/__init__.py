"""Curate medical-image training sets: redundancy, ranking, and proof of how few labels suffice."""
