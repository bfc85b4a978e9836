"""Pairs that a panel cannot know: near-duplicates of one patient under contradicting labels, and identical pictures.

A panel sees no label, so that no label that changes makes one stale; and of one patient it lists no near-duplicates, because
a clip is full of them. Here: the few of those that matter, found again where labels contradict each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import checked, least_product
from enrich_assets.method.pairs.panel import first_near_duplicates
from enrich_assets.method.pairs.similarity import pair_matrix

BLOCK = 2048  # frames of a patient to a side of a block
UNLABELLED = -1


def contradicting_pairs(
    embeddings: NDArray[np.int16], patients: ArrayLike, labels: ArrayLike, near_duplicate: float, most: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Near-duplicates of one patient that carry different labels.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors.
    patients : (n,) int
        Codes.
    labels : (n,) int
        Codes of classes; -1 for a frame without a label.
    near_duplicate : float
        Cosine from which a pair counts.
    most : int
        So many are listed, the nearest.

    Returns
    -------
    pairs : (p, 2) int32
        i < j; most similar first, then lower i, then lower j, as a panel lists them.
    products : (p,) int32
        Exact (divide by 4000^2 for the cosine).
    left_out : int
        Pairs that found no room.

    Notes
    -----
    Only patients with frames of several labels are looked at: O(sum of their frames squared) products.
    """
    q, patient, label = checked(embeddings), np.asarray(patients), np.asarray(labels)
    near = least_product(near_duplicate)
    labelled = np.flatnonzero(label != UNLABELLED)
    by_patient = labelled[np.argsort(patient[labelled], kind="stable")]
    pairs, products, left_out = np.empty((0, 2), np.int32), np.empty(0, np.int32), 0
    for frames in np.split(by_patient, np.flatnonzero(np.diff(patient[by_patient])) + 1):
        if len(np.unique(label[frames])) < 2:
            continue
        for top in range(0, len(frames), BLOCK):
            for left in range(top, len(frames), BLOCK):
                i, j = frames[top : top + BLOCK], frames[left : left + BLOCK]
                block = pair_matrix(q[i], q[j])
                is_found = (block >= near) & (label[i][:, None] != label[j][None, :]) & (i[:, None] < j[None, :])
                a, b = np.nonzero(is_found)
                pairs, products, more = first_near_duplicates(
                    np.concatenate([pairs, np.stack([i[a], j[b]], axis=1).astype(np.int32)]),
                    np.concatenate([products, block[a, b]]),
                    most,
                )
                left_out += more
    return pairs, products, left_out


def identical_pairs(pictures: ArrayLike, patients: ArrayLike) -> NDArray[np.int32]:
    """Identical pictures of several patients: each frame with the first one of another patient.

    Parameters
    ----------
    pictures : (n,) int
        Codes: the same one for the same pixels.
    patients : (n,) int
        Codes.

    Returns
    -------
    (p, 2) int32
        i < j, p < n: no pair for each two of a thousand black frames, but one for each frame.
    """
    picture, patient = np.asarray(pictures), np.asarray(patients)
    order = np.argsort(picture, kind="stable")
    begins = np.flatnonzero(np.diff(picture[order])) + 1
    pairs = [np.empty((0, 2), np.int64)]
    for frames in np.split(order, begins):
        is_first_patient = patient[frames] == patient[frames[:1]]
        if is_first_patient.all():  # most pictures are the only ones of their kind
            continue
        of_others, of_first = frames[~is_first_patient], frames[is_first_patient]
        pairs.append(np.stack([np.full(len(of_others), of_first[0]), of_others], axis=1))
        rest = of_first[1:]
        pairs.append(np.sort(np.stack([rest, np.full(len(rest), of_others[0])], axis=1), axis=1))
    return np.concatenate(pairs).astype(np.int32)


def products_of(embeddings: NDArray[np.int16], pairs: NDArray[np.int32]) -> NDArray[np.int32]:
    """Exact products of (p, 2) pairs of frames: (p,) int32."""
    q = checked(embeddings)
    return np.einsum("ij,ij->i", q[pairs[:, 0]].astype(np.int32), q[pairs[:, 1]].astype(np.int32))
