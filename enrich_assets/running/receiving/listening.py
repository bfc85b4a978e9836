"""`enrich listen`: a DICOM storage node (C-STORE, C-ECHO) that puts what it is sent into `incoming/`.

pynetdicom speaks the protocol; here is who may send, what is answered, and when a study is handed over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from enrich_assets.running.receiving.arrivals import Arrivals, Kept, NoSpace

SUCCESS, NO_RESOURCES, NOT_UNDERSTOOD, CANNOT_PROCESS = 0x0000, 0xA700, 0xC000, 0x0110  # PS3.4 annex B, PS3.7 annex C
LOOK_SECONDS = 1.0  # between two looks for studies that are quiet


@dataclass(frozen=True)
class Listening:
    """How to listen.

    Attributes
    ----------
    ae_title : str
        Our name; who calls another is refused.
    host, port : str, int
        Where. Another machine can send only where `host` is not 127.0.0.1. Port 0: a free one.
    allowed : sequence of str
        AE titles that may send; empty: any.
    associations : int
        At a time. Each may hold one instance in memory.
    """

    ae_title: str = "ENRICH"
    host: str = "127.0.0.1"
    port: int = 11112
    allowed: Sequence[str] = ()
    associations: int = 4


def listen(
    how: Listening,
    arrivals: Arrivals,
    stop: threading.Event,
    say: Callable[[str], None],
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Receive until `stop` is set. What is under way then stays, and is handed over by the next process.

    Parameters
    ----------
    ready : callable
        Gets the port, once it answers.

    Raises
    ------
    OSError
        The port is taken, or needs rights.
    """
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    entity = AE(ae_title=how.ae_title)
    entity.maximum_associations = how.associations
    entity.require_called_aet = True
    entity.require_calling_aet = list(how.allowed)
    syntaxes = _transfer_syntaxes()
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), syntaxes)
    entity.add_supported_context(Verification)
    counts = _Counts(say)
    server = entity.start_server(
        (how.host, how.port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_STORE, _store, [arrivals, counts]),
            (evt.EVT_ABORTED, lambda event: counts.broken("was aborted")),
            (evt.EVT_REJECTED, lambda event: counts.broken("was refused: name, or too many at once")),
        ],
    )
    assert server is not None
    assert server.socket is not None
    try:
        ready(server.socket.getsockname()[1])
        while not stop.wait(LOOK_SECONDS):
            for drop in arrivals.hand_over():
                say(f"study whole: incoming/{drop}")
    finally:
        server.shutdown()
        if arrivals.studies_under_way:
            say(
                f"{arrivals.studies_under_way} studies are not whole; they stay, and the next `enrich listen` hands them over"
            )


class _Counts:
    """What was received, said at every tenth and power of ten so that a thousand files are no thousand lines."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._lock = say, threading.Lock()
        self._new = self._again = 0

    def kept(self, kept: Kept) -> None:
        with self._lock:
            if kept is Kept.NEW:
                self._new += 1
            else:
                self._again += 1
            total = self._new + self._again
            if total < 10 or (total < 100 and total % 10 == 0) or total % 100 == 0:
                again = f", {self._again} of them sent again" if self._again else ""
                self._say(f"{total:,} files received{again}")

    def another(self, instance: str) -> None:
        self._say(f"a file was sent with other content than before under the same UID ({instance}); the first is kept")

    def broken(self, how: str) -> None:
        self._say(f"an association {how}; what had come whole is kept")

    def failed(self, why: str) -> None:
        self._say(f"not kept: {why}; the sender is told to send it again")


def _store(event: Any, arrivals: Arrivals, counts: _Counts) -> int:
    """Answer one C-STORE. The status says whether the instance is on disk."""
    try:
        dataset = event.dataset
        study, instance = str(dataset.StudyInstanceUID), str(event.request.AffectedSOPInstanceUID)
        content = event.encoded_dataset()
    except Exception as error:
        counts.failed(f"not understood ({type(error).__name__})")
        return NOT_UNDERSTOOD
    try:
        kept = arrivals.keep(study, instance, content)
    except NoSpace:
        counts.failed("the disk is full")
        return NO_RESOURCES
    except OSError as error:
        counts.failed(f"cannot be written ({error.strerror or type(error).__name__})")
        return CANNOT_PROCESS
    counts.kept(kept)
    if kept is Kept.ANOTHER:
        counts.another(instance[-8:])
    return SUCCESS


def _transfer_syntaxes() -> list[str]:
    """Those whose pixels we decode: asked for as they are, so that a sender need not decompress."""
    from pydicom.uid import (
        JPEG2000,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEG2000Lossless,
        JPEGBaseline8Bit,
        JPEGExtended12Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEGLSNearLossless,
        RLELossless,
    )

    plain = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
    jpeg = [JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless]
    return [str(uid) for uid in (*plain, *jpeg, JPEG2000Lossless, JPEG2000, RLELossless)]
