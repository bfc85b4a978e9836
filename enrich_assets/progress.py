"""Progress of long work: a bar with count, rate and time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int, dict[str, float]], None]
PLAIN_EVERY_SECONDS = 10.0
_lines_only = False


def always_in_lines() -> None:
    """No bars from this process, even in a terminal: others write there at the same time."""
    global _lines_only
    _lines_only = True


@contextmanager
def progress(title: str, unit: str = "") -> Iterator[Advance]:
    """Show how far a piece of work is.

    Parameters
    ----------
    title : str
        What is being done.
    unit : str
        What is counted, in the plural.

    Yields
    ------
    Advance
        `advance(done, total, metrics)`; a total of 0 is one not known. Safe to call often: output is throttled.
    """
    if sys.stderr.isatty() and not _lines_only:
        with _bar(title, unit) as advance:
            yield advance
    else:
        yield _lines(title, unit)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[metrics]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, metrics="", rate="")
        pace = Pace()

        def advance(done: int, total: int, metrics: dict[str, float]) -> None:
            rate = pace.rate(done, time.monotonic())
            bar.update(
                task, completed=done, total=total or None, metrics=_metrics(metrics), rate=f"{rate:,.1f} {unit}/s"
            )

        yield advance


def _lines(title: str, unit: str) -> Advance:
    pace = Pace()
    last_printed = time.monotonic()

    def advance(done: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal last_printed
        now = time.monotonic()
        rate = pace.rate(done, now)
        if now - last_printed < PLAIN_EVERY_SECONDS:
            return
        last_printed = now
        speed = f", {rate:,.1f}/s" if rate else ""
        speed += f", {(total - done) / rate:,.0f} s left" if rate and total else ""
        of_total = f" of {total:,}" if total else ""
        print(
            f"  {title}: {done:,}{of_total} {unit}{speed} {_metrics(metrics)}".rstrip(),
            file=sys.stderr,
            flush=True,
        )

    return advance


class Pace:
    """Units per second since the first report: what an earlier, interrupted attempt had done does not count."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def rate(self, done: int, now: float) -> float:
        """Units per second.

        Parameters
        ----------
        done : int
            Units so far, those of earlier attempts included.
        now : float
            Time in seconds, of any clock that only goes forward.

        Returns
        -------
        float
            0 at the first report, which there is nothing to compare with.
        """
        if self._first is None:
            self._first = done, now
        before, began = self._first
        return (done - before) / (now - began) if now > began else 0.0


def _metrics(metrics: dict[str, float]) -> str:
    return " ".join(f"{name} {_number(value)}" for name, value in metrics.items())


def _number(value: float) -> str:
    """Counts in full, with commas; losses and rates to four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
