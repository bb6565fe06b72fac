"""The comparison as a picture: how many times better, where the promise lies."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from e2e.bench.results import Results

_GOOD, _SHORT, _PLAIN = "#2a7f62", "#c0392b", "#7f8c8d"


def draw(results: Results, path: Path, title: str) -> None:
    """Draw a bar for each metric that both subjects have; a tick marks what was promised."""
    rows = [row for row in results.rows() if row.ratio]
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.26 * len(rows)), layout="constrained")
    places = range(len(rows), 0, -1)
    colors = {"pass": _GOOD, "SHORT": _SHORT}
    axes.barh(
        places,
        [(row.ratio or 1) - 1 for row in rows],
        left=1,
        color=[colors.get(row.verdict, _PLAIN) for row in rows],
    )
    for place, row in zip(places, rows, strict=True):
        axes.text(max(row.ratio or 1, 1), place, f" {row.ratio:.1f}x", va="center", fontsize=8)
        if row.target and row.target.ratio:
            axes.plot([row.target.ratio] * 2, [place - 0.4, place + 0.4], color="black")
    axes.set_yticks(list(places), [f"{row.metric.case}: {row.metric.name}" for row in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xscale("log")
    axes.set_ylim(0, len(rows) + 1)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times better than the peer (medians; black tick: promised)")
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)
