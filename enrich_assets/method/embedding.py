"""The old name of `method.embeddings.fixed_point`, kept for scripts that import it."""

from enrich_assets.method.embeddings.fixed_point import *  # noqa: F403
