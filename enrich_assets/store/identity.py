"""Names that follow from content: what a subset and an evaluation are called, here and in every database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def subset_id(frame_ids: Iterable[str], pixel_digests: Iterable[str]) -> str:
    """The name of a subset: sha256 of its ordered frame ids and their pixel digests, in hex.

    Parameters
    ----------
    frame_ids
        In the order of the subset.
    pixel_digests
        One per frame.

    Raises
    ------
    ValueError
        If there are not as many of one as of the other.
    """
    digest = hashlib.sha256()
    for frame_id, pixels in zip(frame_ids, pixel_digests, strict=True):
        digest.update(f"{frame_id}\0{pixels}\n".encode())
    return digest.hexdigest()


def evaluation_id(
    task: str, arm: str, budget: str, seed: int, model_digest: str, test_set_digest: str, scoring: str
) -> str:
    """The name of an evaluation, 20 hex characters.

    The same model, scored in the same way on the same test frames in the same cell, is the same evaluation.

    Parameters
    ----------
    task, arm, budget, seed
        The cell; the budget as the profile writes it.
    model_digest
        Of the weights.
    test_set_digest
        Of the test frames and their labels.
    scoring
        Digest of how it is scored (the positive class, the version of the code).
    """
    text = "\n".join((task, arm, budget, str(seed), model_digest, test_set_digest, scoring))
    return hashlib.sha256(text.encode()).hexdigest()[:20]
