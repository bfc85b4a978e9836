"""Vectors: the beta-VAE, its health, and fixed point."""
