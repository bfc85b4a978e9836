"""Engines on real servers: Ray nodes as processes, Slurm on one machine. Marked `servers`: not part of the default run."""
