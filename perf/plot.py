"""--plot: bars of rival over gmpx, and cost against N, as PNG and SVG."""

from pathlib import Path

from growth import growths

COLOURS = {
    "gmpx": "#1f4e9c", "Go": "#00a0c0", "asyncio": "#c07020", "uvloop": "#e0a040",
    "gmpx-1p": "#6a90d0", "Go-1p": "#70c8d8", "asyncio-protocol": "#906040",
    "uvloop-protocol": "#c8a070",
    "gmpx-8p": "#3a6fc0", "executor": "#a8a8a8", "joblib": "#d06060",
    "trio": "#2a8a4a", "gevent": "#8a4fb0", "threads": "#888888", "floor": "#c0c0c0",
}


def pyplot():
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install -e '.[perf]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def save(figure, directory, name):
    paths = [Path(directory) / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        # no date inside: the same figures give the same file
        figure.savefig(path, dpi=120, bbox_inches="tight",
                       metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def plot(rows, directory):
    """Draws what the rows of --json say into the directory; returns the files' paths."""
    plt = pyplot()
    Path(directory).mkdir(parents=True, exist_ok=True)
    return save(ratios(plt, rows), directory, "ratios") + save(
        scaling(plt, rows), directory, "scaling"
    )


def ratios(plt, rows):
    """For each case, at the largest N that was measured, how many times gmpx's cost is the rival's."""
    largest = {}
    for row in rows:
        if row["over_gmpx"] and row["rival"] != "floor":
            largest[row["case"]] = max(row["n"], largest.get(row["case"], 0))
    chosen = [r for r in rows if r["over_gmpx"] and r["n"] == largest.get(r["case"])]
    names = list(dict.fromkeys(r["rival"] for r in chosen if r["rival"] not in ("gmpx", "floor")))
    cases = list(largest)[::-1]
    figure, axes = plt.subplots(figsize=(9, 1 + 0.5 * len(cases)))
    for i, name in enumerate(names):
        at = {r["case"]: r["over_gmpx"] for r in chosen if r["rival"] == name}
        ys = [y + 0.4 - 0.8 * (i + 0.5) / len(names) for y, c in enumerate(cases) if c in at]
        axes.barh(ys, [at[c] - 1 for c in cases if c in at], 0.8 / len(names), left=1,
                  label=name, color=COLOURS.get(name))
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(cases)), [f"{c}, {largest[c]:,}" for c in cases])
    axes.set_xlabel("cost over gmpx's (right of 1: gmpx is cheaper)")
    axes.legend(loc="lower right")
    return figure


def scaling(plt, rows):
    """Cost of one operation against N: gmpx, and the rivals that ran the same sizes."""
    found = growths(rows)
    cases = [g.case for g in found if g.rival == "gmpx"]
    columns = 3
    height = max((len(cases) + columns - 1) // columns, 1)
    figure, grid = plt.subplots(height, columns, figsize=(12, 3.2 * height), squeeze=False)
    for axes, case in zip(grid.flat, cases):
        for g in found:
            if g.case == case:
                sizes = sorted(g.costs)
                axes.plot(sizes, [g.costs[n] for n in sizes], "o-", label=g.rival,
                          color=COLOURS.get(g.rival))
        own = next(g for g in found if g.case == case and g.rival == "gmpx")
        axes.set_title(f"{case}: x {own.factor:.2f}" + (" !" if own.marked else ""))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("N")
        axes.set_ylabel("ns for one")
        axes.legend(fontsize=7)
    for axes in list(grid.flat)[len(cases):]:
        axes.axis("off")
    figure.tight_layout()
    return figure
