"""The league's results as Markdown: what was fixed beforehand, where each arm stands, ranks, the rule applied, costs, adequacy.

Counts of patients and frames only: no file, no id and no picture of an archive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from enrich_assets.method.statistics.league import (
    Decision,
    critical_difference,
    decide,
    friedman,
    mean_ranks,
    standings,
)
from enrich_assets.running.league.homes import RANDOM, Design
from enrich_assets.running.league.scores import Found

FEWEST_ARCHIVES = 3  # for a test of ranks


def league_text(design: Design, found: Sequence[Found], *, heading: str) -> str:
    """Everything in one page.

    Parameters
    ----------
    design : Design
    found : sequence of Found
        What each archive's home holds.
    heading : str
        When, where and by which command: Markdown.

    Returns
    -------
    str
        Markdown. Archives that are not whole are named, shown, and left out of ranks and rule.
    """
    challengers = [
        name
        for name, arm in design.blind.items()
        if arm.get("embedding") in design.challengers and name != design.default
    ]
    tables = {
        (one.name, task): standings(contest, default=design.default, challengers=challengers, apart=design.sighted)
        for one in found
        for task, contest in one.contests.items()
    }
    whole = [one.name for one in found if one.is_whole]
    counted = [table for (name, _), table in tables.items() if name in whole]
    every = pd.concat(counted, ignore_index=True) if counted else pd.DataFrame()
    parts = [heading, _archives(found)]
    if counted:
        ranks = mean_ranks(every)
        decision = decide(every, ranks, default=design.default, challengers=challengers)
        parts += [f"{_outcome(design, every, ranks, decision)}\n{_withheld(design, found)}", _ranks(every, ranks)]
    parts += [_standing(one, task, tables[one.name, task], design) for one in found for task in one.contests]
    parts += [_adequacy(found), _costs(found)]
    return "\n\n".join(parts) + "\n"


def _archives(found: Sequence[Found]) -> str:
    rows = []
    for one in found:
        for row in one.facts.itertuples():
            rows.append([one.name, row.task, row.metric, f"{row.train_frames:,} of {row.train_patients}",
                         f"{row.test_frames:,} of {row.test_patients}", row.test_classes, f"{row.trained} of {row.asked}"])  # fmt: skip
    not_whole = [one.name for one in found if not one.is_whole]
    note = f"\n\nNot finished, so left out of ranks and rule: {', '.join(not_whole)}." if not_whole else ""
    columns = [
        "archive",
        "task",
        "metric",
        "train frames of patients",
        "test frames of patients",
        "test patients",
        "trained",
    ]
    return f"## Archives\n\n{_table(columns, rows)}{note}"


def _outcome(design: Design, every: pd.DataFrame, ranks: pd.DataFrame, decision: Decision) -> str:
    lines = ["## What follows", ""]
    verdict = "stays" if decision.default == design.default else f"becomes `{decision.default}`"
    lines.append(f"**By the rule stated beforehand the default, `{design.default}`, {verdict}.**")
    rows = [[f"`{row.arm}`", f"{row.mean_rank:.2f}", str(row.better), str(row.worse), "yes" if row.takes_over else ""]
            for row in decision.challengers.itertuples()]  # fmt: skip
    columns = ["challenger", "mean rank", "better than the default (archives)", "worse (archives)", "takes over"]
    lines += ["", _table(columns, rows), ""]
    blind = every.dropna(subset=["rank"])
    for sentence, beats in (
        ("Better than random", (blind["difference"] > 0) & (blind["p_holm"] < 0.05)),
        ("Worse than random", (blind["difference"] < 0) & (blind["p_holm"] < 0.05)),
    ):
        which = [
            f"`{row.arm}` on {row.archive} {row.task} ({row.difference:+.3f})" for row in blind[beats].itertuples()
        ]
        lines.append(
            f"- {sentence}, over patients and seeds, corrected for the number of arms: {'; '.join(which) or 'none'}."
        )
    arms = blind[blind["arm"] != RANDOM]
    sure = int((arms["p_holm"] < 0.05).sum())
    lines.append(f"- Of {len(arms)} differences to random, {len(arms) - sure} cannot be told from none.")
    if design.default in set(blind["arm"]):
        of_default = blind[blind["arm"] == design.default]
        which = [
            f"{row.archive} {row.task} {_difference(row.difference, row.ci_low, row.ci_high)}"
            for row in of_default.itertuples()
        ]
        lines.append(f"- The default against random: {'; '.join(which)}.")
    mean = ranks["mean_rank"]
    if {design.default, RANDOM} <= set(mean.index):
        lines.append(
            f"- Of {len(mean)} arms the default has mean rank {mean[design.default]:.2f}, random {mean[RANDOM]:.2f} (1 is best)."
        )
    return "\n".join(lines)


def _withheld(design: Design, found: Sequence[Found]) -> str:
    """On which tasks nothing may be claimed, by the homes' own questions."""
    lines = []
    for one in found:
        asked = one.adequacy[one.adequacy["task"].isin(list(one.contests))] if len(one.adequacy) else one.adequacy
        for task, rows in asked.groupby("task") if len(asked) else ():
            reasons = rows.loc[~rows["passed"].astype(bool), "reason"]
            verdict = (
                f"nothing can be told for certain: {'; '.join(reasons)}"
                if len(reasons)
                else "adequate by all questions"
            )
            lines.append(f"- {one.name} {task}: {verdict}.")
    trained = {arm for one in found for contest in one.contests.values() for arm in contest.evaluations["arm"]}
    if design.sighted and not trained & set(design.sighted):
        lines.append("- The rules that see labels were not trained: nothing is said of them.")
    return "\n".join(lines)


def _ranks(every: pd.DataFrame, ranks: pd.DataFrame) -> str:
    archives = [column for column in ranks if column != "mean_rank"]
    rows = [
        [f"`{arm}`", *(f"{row[name]:.1f}" for name in archives), f"{row['mean_rank']:.2f}", *_signs(every, str(arm))]
        for arm, row in ranks.iterrows()
    ]
    columns = ["arm", *archives, "mean rank", "intervals above / below random", "above / below the default"]
    text = f"## Ranks\n\n1 is best, of {len(ranks)} arms.\n\n{_table(columns, rows)}\n\n"
    n, k = len(archives), len(ranks)
    if n < FEWEST_ARCHIVES or k < 2:
        return f"{text}Archives are too few ({n}) for a test of ranks."
    statistic, p = friedman(ranks[archives].to_numpy())
    agrees = "agree more than chance" if p < 0.05 else "do not agree more than chance would have them"
    return (
        f"{text}Friedman's statistic {statistic:.1f}, p = {p:.3g} by permutation: the archives {agrees}. Mean ranks closer than "
        f"{critical_difference(k, n):.1f} (Nemenyi, level 0.05) cannot be told apart; the best and the last are "
        f"{ranks['mean_rank'].max() - ranks['mean_rank'].min():.1f} apart."
    )


def _signs(every: pd.DataFrame, arm: str) -> list[str]:
    own = every[every["arm"] == arm]
    return [
        f"{int((own[low] > 0).sum())} / {int((own[high] < 0).sum())}"
        for low, high in (("ci_low", "ci_high"), ("to_default_low", "to_default_high"))
    ]


def _standing(one: Found, task: str, table: pd.DataFrame, design: Design) -> str:
    facts = one.facts.set_index("task").loc[task]
    contest = one.contests[task]
    by_budget = contest.evaluations.groupby(["arm", "budget"])["value"].mean()
    full = contest.evaluations[contest.evaluations["arm"] == "all"]
    budgets = sorted(
        int(budget) for budget in contest.evaluations.loc[contest.evaluations["arm"] != "all", "budget"].unique()
    )
    columns = [
        "arm",
        *(f"{budget} labels" for budget in budgets),
        "mean",
        "to random",
        "p",
        "to the default",
        "p",
        "rank",
    ]
    rows = [
        [f"`{row.arm}`", *(_number(by_budget.get((row.arm, budget), math.nan)) for budget in budgets), _number(row.mean),
         _difference(row.difference, row.ci_low, row.ci_high), _p(row.p_holm),
         _difference(row.to_default, row.to_default_low, row.to_default_high), _p(row.to_default_p_holm), _rank(row.rank)]
        for row in table.itertuples()
    ]  # fmt: skip
    blind = [row for row, arm in zip(rows, table["arm"], strict=True) if arm not in design.sighted]
    sighted = [row for row, arm in zip(rows, table["arm"], strict=True) if arm in design.sighted]
    text = f"## {one.name}: {task} ({facts['metric']})\n\n{_table(columns, blind)}"
    if len(full):
        n = int(full["budget"].max())
        text += f"\n\nThe whole pool, {n:,} labels: {full['value'].mean():.3f} (mean of {len(full)} seeds)."
    if sighted:
        text += f"\n\nThese rules saw labels of the frames chosen before; they are no challengers.\n\n{_table(columns, sighted)}"
    return text


def _adequacy(found: Iterable[Found]) -> str:
    rows = [
        [one.name, row.task, row.asks, row.answer, row.remedy]
        for one in found
        if len(one.adequacy)
        for row in one.adequacy.itertuples()
        if row.task in one.contests
    ]
    return f"## Can the experiments tell?\n\nAs each home's page says it.\n\n{_table(['archive', 'task', 'question', 'answer', 'what would help'], rows)}"


def _costs(found: Iterable[Found]) -> str:
    """Seconds on this machine, of frames and rankings, by archive."""
    found = [one for one in found if len(one.costs)]
    lines = [
        "## Cost",
        "",
        "Wall clock, on a machine that others used at the same time: orders of magnitude, no benchmark.",
    ]
    for what, title in (
        ("embedding", "seconds for 1,000 frames"),
        ("ranking", "seconds of a ranking, median over seeds"),
    ):
        costs = [one.costs[one.costs["what"] == what].assign(archive=f"{one.name} ") for one in found]
        table = pd.concat(costs, ignore_index=True) if costs else pd.DataFrame()
        if table.empty:
            continue
        places = table["archive"] + table["task"]
        wide = table.assign(place=places).pivot(index="name", columns="place", values="seconds")
        rows = [[f"`{name}`", *("" if math.isnan(value) else f"{value:.2f}" for value in row)]
                for name, row in zip(wide.index, wide.to_numpy(), strict=True)]  # fmt: skip
        lines += ["", f"{title[0].upper()}{title[1:]}:", "", _table([what, *(str(c).strip() for c in wide)], rows)]
    return "\n".join(lines)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _difference(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:+.3f} (not known)" if math.isnan(low) else f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _p(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2g}"


def _rank(value: float) -> str:
    return "" if math.isnan(value) else f"{value:g}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
