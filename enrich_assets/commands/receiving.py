"""`enrich listen` and `enrich fetch`: studies that come over the network, into `incoming/`."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

import click

from enrich_assets.commands.opening import Refusal, open_archive, say

if TYPE_CHECKING:
    from pathlib import Path

NOT_INSTALLED = "what speaks DICOM over the network is not installed: `pip install 'enrich-assets[dicom-network]'`"
TOKEN = "ENRICH_DICOMWEB_TOKEN"  # nosec B105: the name of a variable


@click.command()
@click.option("--port", default=11112, show_default=True, help="Where to listen; 0 takes a free port.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines send: read SECURITY.md first."
)
@click.option("--ae-title", default="ENRICH", show_default=True, help="Our name; whoever calls another is refused.")
@click.option(
    "--allow", multiple=True, metavar="AE", help="An AE title that may send (again for each); without it any."
)
@click.option(
    "--quiet", default=60.0, show_default=True, help="Seconds without a new file after which a study is whole."
)
@click.option("--associations", default=4, show_default=True, help="Senders at a time.")
def listen(port: int, host: str, ae_title: str, allow: tuple[str, ...], quiet: float, associations: int) -> None:
    """Receive studies by DICOM (C-STORE), until interrupted.

    A study that has been quiet becomes a folder in incoming/; `enrich ui` takes it from there.
    """
    try:
        from enrich_assets.running.receiving import Arrivals, Listening
        from enrich_assets.running.receiving import listen as receive
    except ImportError as error:
        raise Refusal(NOT_INSTALLED) from error
    _warn_of_open_doors(host, allow)
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        say("enrich: stopping")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    how = Listening(ae_title, host, port, allow, associations)
    try:
        receive(how, Arrivals(_incoming(), quiet), stop, say, lambda at: say(f"{ae_title} listens on {host}:{at}"))
    except ImportError as error:
        raise Refusal(NOT_INSTALLED) from error
    except (OSError, ValueError) as error:
        raise Refusal(f"cannot listen on {host}:{port} as {ae_title!r}: {error}") from error


@click.command()
@click.argument("url")
@click.option(
    "--where", "filters", multiple=True, metavar="KEYWORD=VALUE", help="As QIDO-RS has it: StudyDate=20260101-20260131."
)
@click.option("--most", type=click.IntRange(min=1), help="Studies at most.")
def fetch(url: str, filters: tuple[str, ...], most: int | None) -> None:
    """Fetch studies from a DICOMweb server into incoming/.

    URL is that of its service, for instance http://localhost:8042/dicom-web. A token in ENRICH_DICOMWEB_TOKEN is sent along.
    """
    try:
        from enrich_assets.running.receiving import Arrivals, fetch_studies
    except ImportError as error:
        raise Refusal(NOT_INSTALLED) from error
    wrong = [one for one in filters if not one.partition("=")[2]]
    if wrong:
        raise Refusal(f"--where {wrong[0]!r} is not KEYWORD=VALUE")
    headers = {"Authorization": f"Bearer {os.environ[TOKEN]}"} if os.environ.get(TOKEN) else {}
    arrivals = Arrivals(_incoming(), 0.0, under_way=".fetching")
    try:
        drops = fetch_studies(
            url, arrivals, dict(one.split("=", 1) for one in filters), say, most=most, headers=headers
        )
    except ImportError as error:
        raise Refusal(NOT_INSTALLED) from error
    except (OSError, ValueError) as error:
        raise Refusal(f"{url}: {error}; what had come whole is kept, the next fetch goes on") from error
    click.echo(f"{len(drops)} studies in incoming/; `enrich ui` ingests them, or `enrich ingest` does")


def _incoming() -> Path:
    from pathlib import Path

    archive = open_archive()
    archive.make_home()
    if "://" in str(archive.incoming):
        raise Refusal(
            f"incoming/ is {archive.incoming}, and what comes over the network needs a folder of this machine"
        )
    return Path(str(archive.incoming))


def _warn_of_open_doors(host: str, allow: tuple[str, ...]) -> None:
    if host not in ("127.0.0.1", "localhost", "::1") and not allow:
        say("warning: anyone who reaches this port may send; name who may with --allow, and keep it behind a firewall")
