"""Train or test, decided per patient by a hash, so that growth of the archive never moves anyone."""

from __future__ import annotations

import hashlib


def side_of(patient_id: str, test_share: float, salt: str) -> str:
    """On which side of the split a patient is.

    Parameters
    ----------
    patient_id : str
        Any text.
    test_share : float
        Of all patients, in [0, 1].
    salt : str
        Another one draws another split.

    Returns
    -------
    {"test", "train"}

    Notes
    -----
    The first 64 bits of sha256("salt:patient") stand for a uniform number.
    """
    number = int.from_bytes(hashlib.sha256(f"{salt}:{patient_id}".encode()).digest()[:8], "big") / 2**64
    return "test" if number < test_share else "train"
