"""`enrich lineage`: the chain behind evaluations, in words, each digest computed again."""

from collections.abc import Callable, Iterator

from enrich_assets.archive.home import Archive
from enrich_assets.archive.sources import source_files
from enrich_assets.core.where import arms_of
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.lineage import Lineage, Link
from enrich_assets.store.receipts import Receipt

MOST_SOURCES = 5  # source files named one by one, per batch and state


def evaluations(archive: Archive) -> Iterator[Receipt]:
    """Every evaluation ever made, current or not, each id once."""
    seen: set[str] = set()
    for name, task in archive.profile.tasks.items():
        for arm in arms_of(task):
            for receipt in reversed(archive.store.receipts.history(f"{name}/{arm}/evaluation")):
                if receipt.metrics["evaluation_id"] not in seen:
                    seen.add(receipt.metrics["evaluation_id"])
                    yield receipt


def report_lineage(archive: Archive, evaluation_id: str | None, say: Callable[[str], None]) -> bool:
    """Report the chain of one evaluation, or of all.

    Source files that are gone are named but break nothing (archives move away after they were ingested); one that
    changed does.

    Parameters
    ----------
    archive
        Whose evaluations.
    evaluation_id
        Or the beginning of it. None: all of them, a line each.
    say
        Gets the lines.

    Returns
    -------
    bool
        False if a link is broken.

    Raises
    ------
    LookupError
        For an unknown id, the beginning of several, or where nothing has been evaluated.
    """
    lineage = Lineage(archive.store, source_files(archive).digest_of)
    chosen = [r for r in evaluations(archive) if r.metrics["evaluation_id"].startswith(evaluation_id or "")]
    if evaluation_id and len(chosen) > 1:
        raise LookupError(f"{len(chosen)} evaluations begin with {evaluation_id}: name more of it")
    if not chosen:
        what = f"no evaluation {evaluation_id}" if evaluation_id else "nothing has been evaluated"
        raise LookupError(f"{what} in {archive.home}")
    broken: dict[str, Link] = {}
    for name in _damaged(archive) if evaluation_id is None else ():
        broken[name] = Link(name, "", "changed", "not a receipt any more: what it said of an evaluation cannot be had")
    for receipt in chosen:
        links = lineage.verify(receipt)
        bad = [link for link in links if _breaks(link)]
        broken |= {link.what: link for link in bad}
        say(_headline(receipt, links, bad))
        if evaluation_id is not None:
            for line in _lines(links):
                say(line)
            say(f"its frames, one by one: enrich frames {receipt.metrics['evaluation_id']}")
    if evaluation_id is None:
        for link in broken.values():
            say(f"  {link.state}: {link.what}: {link.detail}")
        say(f"{len(chosen)} evaluations, " + ("every link holds" if not broken else f"{len(broken)} broken links"))
    return not broken


def _damaged(archive: Archive) -> Iterator[str]:
    """Receipts of evaluations that cannot be read any more."""
    for name, task in archive.profile.tasks.items():
        for arm in arms_of(task):
            yield from archive.store.receipts.damaged_history(f"{name}/{arm}/evaluation")


def _breaks(link: Link) -> bool:
    return link.state == "changed" or (link.state == "gone" and not link.is_source)


def _headline(receipt: Receipt, links: list[Link], bad: list[Link]) -> str:
    metrics = receipt.metrics
    task, arm, _ = receipt.asset.split("/")
    state = "holds" if not bad else f"BROKEN at {', '.join(link.what for link in bad[:3])}"
    number = f"{kind_of(metrics['kind']).metric_label} {metrics['value']:.4f}"
    return (
        f"{metrics['evaluation_id']}  {task} {arm} {metrics['n_train']} frames, seed {receipt.partition.rpartition('|')[2]}: "
        f"{number}, {len(links)} links: {state}"
    )


def _lines(links: list[Link]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for link in links:
        if link.is_source:
            key = f"source files: {link.state}"
            counts[key] = counts.get(key, 0) + 1
            if counts[key] > MOST_SOURCES:
                continue
        note = f"  ({link.detail})" if link.detail else ""
        yield f"  {link.state:8} {link.digest[:16]}  {link.what}{note}"
    for key, count in counts.items():
        if count > MOST_SOURCES:
            yield f"  ... and {count - MOST_SOURCES} more: {key}"
