"""Dagster's graph, the report and MLflow in a real browser: Chromium (Debian), driven by Playwright (requirements-browser.lock).

A home is served as people do it, by `enrich ui`. Whatever a page writes into its console as an error fails the test.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.run_tags import CELLS, NODE
from enrich_assets_tests.made_home import opened, receipt

pytestmark = pytest.mark.servers

CHROMIUM = "/usr/bin/chromium"
LEAST_SIZE = 9  # pixels of text, as it is shown
PATIENCE = 60_000  # milliseconds, on a busy machine
# Two of MLflow's own: it asks its server who is logged in, which without accounts is not found; and a notice of Chromium that a layout took
# two rounds.
NO_ACCOUNTS, TWO_ROUNDS = "/ajax-api/2.0/mlflow/users/current", "ResizeObserver loop completed"

# Text that is shown smaller than asked for; text in a figure is as large as the figure's scale makes it.
TOO_SMALL = """least => {
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode, range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (!text.nodeValue.trim() || !box.width || !box.height) continue;
    const svg = text.parentElement.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const size = scale * parseFloat(getComputedStyle(text.parentElement).fontSize);
    if (size < least) found.push(`${size.toFixed(1)} px: ${text.nodeValue.trim().slice(0, 40)}`);
  }
  return found;
}"""


# A point of a link where a click reaches it, and not what is drawn over it.
FREE_POINT = """link => {
  const box = link.getBoundingClientRect();
  for (let down = 0.5; down < box.height; down++) for (let right = 0.5; right < box.width; right++) {
    const hit = document.elementFromPoint(box.x + right, box.y + down);
    if (hit && hit.closest("a") === link) return [box.x + right, box.y + down];
  }
}"""


def click(page: Any, link: Any) -> None:
    """A click of the mouse on a link of a figure."""
    link.evaluate("link => link.scrollIntoView({block: 'center', behavior: 'instant'})")
    page.mouse.click(*link.evaluate(FREE_POINT))


@dataclass
class Served:
    """A home, and where `enrich ui` shows it."""

    home: Path
    dagster: str
    mlflow: str


@dataclass
class Pages:
    """A browser that keeps what its consoles say."""

    browser: Any
    errors: list[str] = field(default_factory=list)

    def page(self, width: int = 1500, height: int = 1000, scheme: str = "light") -> Any:
        page = self.browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def _heard(self, message: Any) -> None:
        is_known = NO_ACCOUNTS in message.location["url"] or TWO_ROUNDS in message.text
        if message.type == "error" and not is_known:
            self.errors.append(f"{message.text} ({message.location['url']})")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_graph(page: Any, name: str) -> Any:
    """A group or asset in Dagster's graph; the same names stand in the list beside it."""
    return page.locator("foreignObject").get_by_text(name, exact=True).filter(visible=True).first


@pytest.fixture(scope="module")
def served(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(small_home, home)
    port, mlflow_port = free_port(), free_port()
    command = [sys.executable, "-m", "enrich_assets.cli", "ui", "--port", str(port), "--mlflow-port", str(mlflow_port)]
    environment = {**os.environ, "ENRICH_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    environment.pop("ENRICH_PROFILE", None)
    ui = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert ui.stdout is not None
        addresses = dict[str, str]()
        for line in ui.stdout:  # it ends where the servers end
            if found := re.match(r"(Dagster|MLflow) +(http\S+)", line):
                addresses.setdefault(*found.groups())
            if len(addresses) == 2:
                break
        assert len(addresses) == 2, "enrich ui ended before its servers answered"
        with (home / "ui.log").open("wb") as log:  # nobody reads the pipe from here on
            reader = subprocess.Popen(["cat"], stdin=ui.stdout, stdout=log)
            yield Served(home, addresses["Dagster"], addresses["MLflow"])
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.wait()
        reader.wait()


@pytest.fixture
def pages() -> Iterator[Pages]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        pages = Pages(browser)
        yield pages
        browser.close()
    assert pages.errors == []


def test_a_partition_is_made_from_the_graph_by_clicking(served: Served, pages: Pages) -> None:
    page = pages.page()
    page.goto(f"{served.dagster}/asset-groups")
    in_graph(page, "ingestion").dblclick()
    in_graph(page, "split").click()
    page.get_by_role("button", name="Materialize selected").click()
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Launch 1 run").click()
    page.get_by_role("link", name="View", exact=True).or_(
        page.get_by_role("button", name="View", exact=True)
    ).first.click()
    page.wait_for_url("**/runs/*")
    run_id = re.search(r"/runs/([0-9a-f-]{36})", page.url).group(1)
    page.get_by_text("Success", exact=True).first.wait_for()
    archive = opened(served.home)
    with open_instance(archive) as instance:
        tags = instance.get_run_by_id(run_id).tags
    assert tags[CELLS] == "batch first: split"
    assert tags[NODE] == socket.gethostname()
    assert receipt(archive, "split", "first").run_id == run_id


def test_an_arm_is_told_from_another_in_the_graph(served: Served, pages: Pages) -> None:
    page = pages.page()
    page.goto(f"{served.dagster}/asset-groups")
    in_graph(page, "view").dblclick()
    for arm in ("enrich", "random", "all"):
        in_graph(page, arm).wait_for()


@pytest.mark.parametrize("name", ["report.html", "report-pictures.html", "report-frames.html", "report-checks.html"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_report_can_be_read_on_a_desk_and_on_a_phone(
    served: Served, pages: Pages, name: str, width: int, scheme: str
) -> None:
    page = pages.page(width, 900, scheme)
    page.goto((served.home / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_SMALL, LEAST_SIZE) == []
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_SMALL, LEAST_SIZE) == []
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)")


def test_a_point_of_the_curve_leads_to_its_frames_and_to_its_evaluation(served: Served, pages: Pages) -> None:
    name = receipt(opened(served.home), "view/enrich/evaluation", "20|1").metrics["evaluation_id"]
    page = pages.page()
    page.goto((served.home / "report.html").as_uri())
    click(page, page.locator(f'svg a[*|href="report-frames.html#e-{name}"]'))
    page.wait_for_url(f"**/report-frames.html#e-{name}")
    chosen = page.locator(f"#e-{name} ~ .frames").first
    assert chosen.locator("img").count() == 10, "what it adds to the ten of the smaller budget"
    assert chosen.locator("img").first.evaluate("image => image.naturalWidth") > 0
    page.locator(f"#e-{name} a").click()
    row = page.locator(f"#e-{name}")
    row.wait_for(state="visible")  # it was folded
    assert name in row.inner_text()


def test_a_mean_of_the_curve_leads_to_the_frames_of_its_seeds(served: Served, pages: Pages) -> None:
    page = pages.page()
    page.goto((served.home / "report.html").as_uri())
    click(page, page.locator('svg a[*|href="report-frames.html#g-view-enrich-20"]'))
    page.wait_for_url("**/report-frames.html#g-view-enrich-20")
    page.get_by_role("heading", name="ENRICH, 20 labels, seed 0").wait_for()


def test_findings_pictures_and_checks_lead_to_one_another(served: Served, pages: Pages) -> None:
    page = pages.page()
    page.goto((served.home / "report.html").as_uri())
    for name, heading in (
        ("Pictures", "Pictures"),
        ("Frames", "Frames behind each score"),
        ("Checks", "Checks"),
        ("Findings", "How few labels suffice?"),
    ):
        page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", level=1, name=heading, exact=True).wait_for()


def test_dagster_leads_to_the_run_of_an_evaluation_in_mlflow(served: Served, pages: Pages) -> None:
    archive = opened(served.home)
    run_id = receipt(archive, "view/enrich/evaluation", "20|1").metrics["mlflow_run_id"]
    page = pages.page()
    page.goto(f"{served.dagster}/assets/view/enrich/evaluation?partition=20|1")
    link = page.locator(f"a[href*='{run_id}']").first.get_attribute("href")
    assert link.startswith("http://127.0.0.1:5000/"), "made before `enrich ui` took another port: as the profile says"
    page.goto(served.mlflow)  # as `enrich ui` says: the runs of the first task, not the view for language models
    page.get_by_text("view enrich 20 seed 1", exact=True).first.click()
    page.wait_for_url(f"**/runs/{run_id}*")
    page.get_by_text("ci_low", exact=True).first.wait_for()
    page.get_by_text("view/enrich/subset").first.wait_for()
