"""Curate medical-image training sets: redundancy, ranking, and proof of how few labels suffice."""

import os

# Threads that wait for work must not burn the core another process needs: on shared machines the default, spinning, makes
# small networks ten times slower. Read by OpenMP when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
