"""The old name of `method.pairs.similarity`, kept for scripts that import it."""

from enrich_assets.method.pairs.similarity import *  # noqa: F403
