"""The pages: self-contained, well-formed, every number traced to its evaluations and equal to what SQL returns."""

import html
import re
from html.parser import HTMLParser

import duckdb
import numpy as np
import pandas as pd
import pytest

from enrich_assets.report import figures, numbers, trained_on
from enrich_assets.report.names import CHECKS, FINDINGS, FRAMES, PICTURES
from enrich_assets.report.page import NEEDED, render
from enrich_assets.store.published.views import VIEWS, create_view
from enrich_assets_tests.report import archive

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """Checks that elements nest, and collects ids, links and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.addresses, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert len(given) == len(attributes), f"an attribute twice in <{tag}>"
        if "id" in given:
            self.ids.append(given["id"])
        for name in ("href", "xlink:href"):
            if given.get(name, "").startswith("#"):
                self.links.append(given[name][1:])
        self.addresses += [given[n] for n in ("href", "src", "xlink:href", "srcset", "action") if n in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> out of place"

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def made_pages(tables, **more):
    about = {"profile_name": "demo", "generated_at": archive.NOON, "meta": archive.meta()} | more
    return render(tables, archive.image, **about)


def made(tables, **more):
    """All pages, one after the other."""
    return "\n".join(made_pages(tables, **more).values())


@pytest.fixture(scope="module")
def tables():
    return archive.tables()


@pytest.fixture(scope="module")
def small():
    """One task, two seeds, eight patients."""
    return archive.tables(tasks=("view",), seeds=2, patients=8)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures left undrawn, for tests of words alone: drawing is most of a page's seconds."""
    for name in ("redundancy_svg", "curves_svg", "coverage_svg", "labelling_time_svg", "vae_curves_svg"):
        monkeypatch.setattr(figures, name, lambda *given, **more: "<svg></svg>")


@pytest.fixture(scope="module")
def pages(tables):
    return made_pages(tables)


@pytest.fixture(scope="module")
def page(pages):
    """All of them, one after the other."""
    return "\n".join(pages.values())


@pytest.fixture(scope="module")
def readers(pages):
    return {name: read(page) for name, page in pages.items()}


@pytest.fixture(scope="module")
def reader(readers):
    return readers[FINDINGS]


@pytest.fixture(scope="module")
def database(tables):
    """The tables in DuckDB, with the views that the page's SQL names."""
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register(f"given_{name}", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given_{name}")
    for view in VIEWS:
        if view.name in ("curves", "representation"):
            connection.execute(create_view(view))
    return connection


def test_the_pages_refer_to_nothing_but_one_another(page, readers):
    addresses = {a.partition("#")[0] for reader in readers.values() for a in reader.addresses}
    outside = {a for a in addresses if a and not a.startswith("data:")}
    assert outside == {"https://doi.org/10.1093/jamia/ocad055", FINDINGS, PICTURES, FRAMES, CHECKS}
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert not re.search(r"<script[^>]+src", page)


def test_no_id_occurs_twice_and_every_link_has_its_place(readers):
    for reader in readers.values():
        assert len(reader.ids) == len(set(reader.ids))
        assert set(reader.links) <= set(reader.ids)
        elsewhere = [a.split("#") for a in reader.addresses if a.startswith("report") and "#" in a]
        assert all(place in readers[name].ids for name, place in elsewhere)
    assert len([a for a in readers[FINDINGS].addresses if a.startswith(f"{PICTURES}#")]) >= 3


def test_findings_are_without_the_weight_of_pictures_and_checks(pages):
    assert "data:image/webp" not in pages[FINDINGS]
    assert "data:image/webp" in pages[PICTURES]
    assert len(pages[FINDINGS]) < 1_000_000
    assert "checks that passed" in pages[CHECKS]


def test_pictures_are_there_when_the_page_is_printed(pages):
    """Those that a browser loads or decodes when they come into view were black on paper."""
    assert 'loading="lazy"' not in pages[PICTURES]
    assert 'decoding="async"' not in pages[PICTURES]
    assert "@media print" in pages[PICTURES]


def test_each_point_of_the_curve_leads_to_its_frames(tables, pages):
    for row in tables["evaluations"][tables["evaluations"]["arm"] != "all"].itertuples():
        link = f"{FRAMES}#{numbers.anchor(row.evaluation_id)}"
        assert len(re.findall(rf'<a xlink:href="{re.escape(link)}">', pages[FINDINGS])) == 1
        mean = f"{FRAMES}#{numbers.group_anchor(row.task, row.arm, row.budget)}"
        assert len(re.findall(rf'<a xlink:href="{re.escape(mean)}">', pages[FINDINGS])) == 1
        line = re.search(rf'<tr id="{numbers.anchor(row.evaluation_id)}">.*?</tr>', pages[FINDINGS], flags=re.S).group()
        assert f'href="{link}"' in line


def test_the_page_of_frames_holds_each_subset_in_its_order(tables, pages):
    """A subset is what stands under its own heading and, where it continues them, under those before it."""
    page, members = pages[FRAMES], tables["subset_frames"].sort_values("position")
    runs = tables["evaluations"][tables["evaluations"]["arm"] != "all"]
    for _, of_choice in runs.groupby(["task", "arm", "seed"]):
        shown, before = [], 0
        for row in of_choice.sort_values("budget").itertuples():
            part = page.split(f'<h4 id="{numbers.anchor(row.evaluation_id)}">')[1].split("<h4")[0].split("<h3")[0]
            added = re.findall(r'title="(.*?)"', part)
            assert (f"The {before:,} before" in part) is bool(before)
            shown += added
            chosen = list(members.loc[members["subset_id"] == row.subset_id, "frame_id"])
            assert shown == chosen[: trained_on.room_of_each(tables["subsets"])]
            assert (f"{len(chosen) - len(shown)} more are not shown here" in part) is (len(shown) < len(chosen))
            before = len(chosen)
            assert f"{numbers.metric_label(row.metric)} {numbers.score(row.value)}" in part


def test_frames_without_room_are_counted_and_named_by_their_command(small, monkeypatch):
    monkeypatch.setattr(trained_on, "MOST", 4 * 60)  # two arms, two seeds
    page = made_pages(small)[FRAMES]
    for left in (40, 100, 35):  # of what budgets 100, 200 and the whole pool of 235 add
        assert page.count(f"{left} more are not shown here") == 4
    assert page.count('alt="frame ') == 4 * 60
    (largest,) = small["evaluations"].query("arm == 'enrich' and budget == 400 and seed == 0")["evaluation_id"]
    assert f"enrich frames {largest} --out frames.html" in page


def test_every_evaluation_has_its_place_and_its_value(tables, page, reader):
    for row in tables["evaluations"].itertuples():
        anchor = numbers.anchor(row.evaluation_id)
        assert anchor in reader.ids
        line = re.search(rf'<tr id="{re.escape(anchor)}">.*?</tr>', page, flags=re.S).group()
        assert f"{numbers.metric_label(row.metric)} {numbers.score(row.value)}" in line
        assert row.evaluation_id in line
        assert f'<a xlink:href="{FRAMES}#{anchor}">' in page or row.arm == "all"


def test_each_mean_links_to_its_runs_and_equals_sql_and_the_terminal(tables, page, database):
    terminal = numbers.results_text(tables["evaluations"])
    rows = database.sql("SELECT task, arm, budget, n, mean, sd FROM curves").fetchall()
    assert len(rows) == 16
    for task, arm, budget, n, mean, sd in rows:
        link = f'<a href="#{numbers.group_anchor(task, arm, budget)}" class="strong">{numbers.score(mean)}</a>'
        assert f"<td>{n}</td><td>{link}</td><td>{numbers.score(sd)}</td>" in page
        assert f"{numbers.score(mean)} ± {numbers.score(sd)} (n={n})" in terminal


def test_every_sql_of_the_page_runs_and_returns_what_the_page_shows(tables, page, database):
    queries = {html.unescape(q) for q in re.findall(r'<pre>enrich sql "(.*?)"</pre>', page)}
    assert len(queries) >= 12
    for query in queries:
        assert len(database.sql(query).fetchall()) > 0, query
    (shares,) = [q for q in queries if "FROM redundancy" in q and "'view'" in q]
    assert {q.split("FROM ")[1].split()[0] for q in queries} <= set(tables) | {"representation"}
    for _, pairs, *over in database.sql(shares).fetchall():
        cells = "".join(f"<td>{numbers.share(value)}</td>" for value in over)
        assert f"<td>{numbers.count(pairs)}</td>{cells}" in page


def test_comparisons_are_shown_as_they_stand(tables, page):
    for row in tables["comparisons"].itertuples():
        assert f'<span class="strong">{numbers.signed(row.difference)}</span>' in page
        assert f">{numbers.p_value(row.p_holm)}" in page
    assert "3 against 3 cannot give p below 0.3" in page


def test_the_headline_says_what_suffices_and_what_is_saved(page):
    assert (
        "200 labels chosen by ENRICH, 17.0 % of 1,178, train as good a model as labelling everything, within 0.01 AUC."
        in page
    )
    assert "Random choice suffices at no tested budget up to 400" in page


def test_where_random_beats_enrich_the_page_says_so(page):
    assert "Random choice was ahead of ENRICH in Jaccard at 20 labels by" in page
    assert "3 seeds, exact test over seeds can reach p" in page


def test_refused_files_stand_with_their_reasons_and_are_escaped(page):
    assert "export the file again &lt;or leave it out&gt;" in page
    assert "not an image, video or DICOM file" in page


def test_estimates_are_called_estimates(small, page):
    assert "Estimated from sampled pairs" not in page
    sampled = small | {"redundancy": small["redundancy"].assign(is_estimate=True)}
    again = made(sampled)
    assert "Estimated from sampled pairs" in again
    assert "estimated from sampled pairs" in again  # the axis of the figure itself
    assert ">about 442,000 pairs<" in again
    assert "Estimate: the next 100 labels" in page


def test_batches_that_are_not_summed_yet_are_summed_by_the_page(small, undrawn):
    """The same numbers as of the whole pool, and SQL that finds them in the table of the batches."""
    cells = re.compile(r"<td>442,[0-9]+</td>(?:<td>[0-9.]+ %</td>)+")
    of_pool = small | {"redundancy": small["redundancy"].dropna(subset="task")}
    whole, summed = (made(of_pool | {name: pd.DataFrame()}) for name in ("panel_redundancy", "redundancy"))
    assert cells.findall(whole) == cells.findall(summed) != []
    assert "FROM redundancy WHERE task = &#39;view&#39;" in whole
    assert "FROM panel_redundancy WHERE task = &#39;view&#39;" in summed


def test_left_out_frames_stand_beside_their_nearest_chosen_one(page):
    assert "nearest chosen" in page
    pairs = re.findall(r'<figure class="pair">.*?</figure>', page, flags=re.S)
    assert len(pairs) >= 12
    assert all(pair.count("data:image/webp") == 2 for pair in pairs)


def test_leaks_are_shown_side_by_side_with_ids_labels_and_sides_the_worst_first_and_the_rest_counted(
    tables, pages, page
):
    section = pages[PICTURES][pages[PICTURES].index('<section id="leaks">') :]
    section = section[: section.index("</section>")]
    pairs = re.findall(r'<figure class="pair">.*?</figure>', section, flags=re.S)
    assert len(pairs) == 12 + 1 + 1
    assert all(pair.count("data:image/webp") == 2 for pair in pairs)
    for row, pair in zip(tables["leaks"].head(12).itertuples(), pairs, strict=False):
        assert f"{row.frame_id} and {row.other_id}: " in pair
    assert "<small>train, A4C</small>" in pairs[0]
    assert "<small>test, NT</small>" in pairs[0]
    assert "identical pixels" in pairs[2]
    assert "similarity 0.993" in pairs[3]
    assert "<small>train, no label</small>" in pairs[3]
    assert "The 12 worst are shown, 8 more are listed." in section
    assert "7 more pairs are as near and not listed" in pages[FINDINGS]
    assert "20 pairs of a train and a test frame are nearly the same picture" in page[: page.index("Figure 1")]
    findings = pages[FINDINGS]
    assert "train and test" in findings[findings.index("Patients with nearly identical frames") :]


def test_where_nothing_leaks_the_page_says_so_and_where_nobody_looked_too(small, undrawn):
    nothing = small | {"leaks": pd.DataFrame()}
    about = archive.meta() | {"leaks": {"across_split": 0, "left_out": 0, "all_pairs_known": True}}
    assert "No near-duplicates across the split, between patients" in made(nothing, meta=about)
    assert "Not looked for yet." in made(nothing, meta=archive.meta() | {"leaks": None})
    assert "nearly the same picture, so scores" not in made(nothing, meta=about)
    few = about["leaks"] | {"all_pairs_known": False}
    assert "Not all pairs were looked at" in made(nothing, meta=about | {"leaks": few})


def test_figure_1_is_of_the_archive_and_the_pool_has_its_own(page):
    archive_figure, pool = page.index("How similar are two frames of the archive?"), page.index("of the pool?")
    assert archive_figure < pool
    assert "WHERE whole = &#39;archive&#39;" in page
    assert "WHERE whole = &#39;train&#39;" in page


def test_the_pages_stay_small(pages):
    assert sum(len(page) for name, page in pages.items() if name != FRAMES) < 6_000_000
    assert len(pages[FRAMES]) < 10_000_000


@pytest.mark.parametrize("first", range(4))
def test_any_table_may_be_absent(small, first):
    """Every table is left out once, a quarter of them at a time."""
    left_out = sorted(NEEDED)[first::4]
    few = {n: t for n, t in small.items() if n not in left_out}
    for page in made_pages(few, meta={}).values():
        read(page)


def test_a_patient_in_both_train_and_test_is_reported(small, undrawn):
    page = made(small)
    assert page == made(small)  # the same tables make the same page
    assert "No patient has frames in both train and test" in page
    frames = small["frames"].copy()
    frames.loc[0, "split"] = "test" if frames.split[0] == "train" else "train"
    assert "1 patient has frames in both train and test (p000)" in made(small | {"frames": frames})


def test_the_nearest_chosen_frames_are_taken_from_the_exact_table_where_given(small, undrawn):
    subset = small["subsets"].query("arm == 'enrich' and seed == 0").sort_values("budget").iloc[0]
    chosen = small["subset_frames"].query(f"subset_id == '{subset.subset_id}'").frame_id
    left = sorted(set(small["frames"].frame_id) - set(chosen))[:3]
    exact = pd.DataFrame({"task": "view", "frame_id": left, "chosen_id": chosen.iloc[0], "similarity": 0.456})
    page = made(small | {"nearest_chosen": exact})
    assert "3 frames were left out" in page
    assert page.count("<figcaption>similarity 0.456</figcaption>") == 3


def test_nothing_at_all_still_makes_a_page():
    pages = render({}, archive.image, profile_name="empty", generated_at="now")
    for page in pages.values():
        read(page)
    assert "Nothing has been measured yet" in pages[FINDINGS]


def test_one_task_without_comparisons(undrawn):
    page = made_pages(archive.tables(tasks=("view",), compared=False, patients=12))[FINDINGS]
    read(page)
    assert "nothing to compare them with yet" in page


def test_one_seed_makes_no_claim(undrawn):
    page = made_pages(archive.tables(tasks=("view",), seeds=1, patients=12))[FINDINGS]
    read(page)
    assert "This experiment cannot tell how few labels suffice" in page
    assert "equivalence needs at least 2 runs on either side" in page
    assert "★" not in re.sub(r"<b>★</b>", "", page)


def test_superseded_evaluations_keep_their_place_but_not_their_weight(small, undrawn):
    tables = small
    old = tables["evaluations"].head(3).assign(current=False, value=0.1)
    old["evaluation_id"] = ["old-1", "old-2", "old-3"]
    page = made_pages(tables | {"evaluations": pd.concat([tables["evaluations"], old], ignore_index=True)})[FINDINGS]
    ids = read(page).ids
    assert {"e-old-1", "e-old-2", "e-old-3"} <= set(ids)
    assert "superseded" in page
    assert page.count("AUC 0.1000") == 3


def test_frames_whose_pixels_are_gone_leave_a_gap_not_an_error(small, undrawn):
    def gone(frame_id):
        raise KeyError(frame_id)

    page = render(small, gone, profile_name="demo", generated_at="now")[PICTURES]
    assert "no picture" in page
    assert "data:image/webp" not in page


def test_pictures_of_any_kind_are_taken_and_bounded():
    from enrich_assets.report.figures import reconstructions_png
    from enrich_assets.report.gallery import Pictures

    frame = archive.image("s000/c0/1")
    png = reconstructions_png(frame[None], frame[None])
    assert Pictures(lambda _: png).uri("a").startswith("data:image/webp;base64,")
    assert Pictures(lambda _: np.zeros((50, 60, 3), np.uint8)).uri("a") is not None
    few = Pictures(lambda _: frame, limit=6_000)
    shown = [few.uri(str(i)) for i in range(10)]
    assert shown[0] is not None
    assert shown[-1] is None
    assert sum(len(s) for s in shown if s) <= 6_000
