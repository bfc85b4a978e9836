"""Sealed addresses: only whoever holds the key of this archive can read in which folder a file lies.

Folders of a DICOM export are often named after the patient (`DOE_JANE/IM0001`), and the path of a source file stands in
tables, receipts and the published database. So an address that was not written by the user (a manifest's are) is kept as
`sealed:<text>/F1a2b3c4d5e6f`: files are named after patients, too, so a short keyed hash stands for the name, by which a refused file
can be spoken of; `enrich open-name` opens it for whoever holds the key. AES-SIV (RFC 5297) under a key
derived from the archive's own. It is deterministic, so one file keeps one name and digests stay stable; without the key it
can be neither read nor guessed at.
"""

from __future__ import annotations

import base64
import binascii

from enrich_assets.studies.pseudonyms import Pseudonyms

SEALED = "sealed:"
_PURPOSE = "sealed paths"


def is_sealed(path: str) -> bool:
    """Whether an address is one that `seal` made."""
    return path.startswith(SEALED)


def seal(path: str, pseudonyms: Pseudonyms, *, is_folder: bool = False) -> str:
    """The sealed form of an address; one that is sealed already stays as it is.

    Parameters
    ----------
    path : str
        The address of a file or folder.
    pseudonyms : Pseudonyms
        Whose key seals it.
    is_folder : bool
        A folder's own name is hidden too.
    """
    if is_sealed(path):
        return path
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    hidden = AESSIV(pseudonyms.derived_key(_PURPOSE)).encrypt(path.encode(), None)
    sealed = SEALED + base64.urlsafe_b64encode(hidden).decode().rstrip("=")
    return sealed if is_folder else f"{sealed}/{pseudonyms.file(path)}"


def short_name(path: str) -> str:
    """What a sealed file is called in a sentence: the keyed hash of its address; any other address as it is."""
    return path.rpartition("/")[2] if is_sealed(path) else path


def unseal(path: str, pseudonyms: Pseudonyms) -> str:
    """The address itself; one that was never sealed as it is.

    Raises
    ------
    LookupError
        It was sealed under another key.
    """
    if not is_sealed(path):
        return path
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    text = path.removeprefix(SEALED).partition("/")[0]
    try:
        hidden = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return AESSIV(pseudonyms.derived_key(_PURPOSE)).decrypt(hidden, None).decode()
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise LookupError(
            "the source path was sealed under another key: put the pseudonym.key it was ingested with back into home"
        ) from error
