"""The tables: rich's on a terminal that has it, plain text otherwise."""

import sys
from statistics import median

from fan.ways import RIVALS


def amount(value, unit=""):
    """Returns a figure with three or four digits that count."""
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def show(title, columns, rows):
    """Prints a table; `columns` are (heading, "<" or ">"), an empty row parts the groups."""
    console = rich_console()
    if console is None:
        plain(title, columns, rows)
        return
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading, side in columns:
        table.add_column(heading, justify="left" if side == "<" else "right")
    for row in rows:
        if row:
            # rich would read [..] as markup
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        else:
            table.add_section()
    console.print(table)


def rich_console():
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()


def plain(title, columns, rows):
    headings = [heading for heading, _ in columns]
    full = [headings, *(row for row in rows if row)]
    widths = [max(len(row[i]) for row in full) for i in range(len(columns))]

    def line(row):
        cells = (f"{cell:{side}{width}}" for cell, (_, side), width in zip(row, columns, widths))
        return "  ".join(cells).rstrip()

    print(title)
    print(line(headings))
    print("  ".join("-" * width for width in widths))
    for row in rows:
        print(line(row) if row else "")
    print()


def show_results(results):
    rows = []
    for case in results.cases:
        name = case.name
        for n in results.sizes(case):
            size = f"{n:,}"
            for rival in results.rivals_of(case):
                own = case.size_for(rival, n)
                label = rival if own == n else f"{rival} at {own:,}"
                rows.append((name, size, label, *results_of(results, case, n, rival)))
                name = size = ""
        rows.append(())
    columns = [("case", "<"), ("N", ">"), ("rival", "<"), ("median", ">")]
    columns += [("min .. max", ">"), ("/ gmpx", ">")]
    show("Figures (README.md says of what)", columns, rows[:-1])


def show_gains(results):
    """Of the cases of several Ps: a line for each kind and way, of what comes of its three cases."""
    rivals = [name for name in RIVALS if name not in ("gmpx", "gmpx-1p")]
    rows = []
    for case in results.cases:
        if not case.fan or case.name != case.program:
            continue
        (n,) = results.sizes(case)

        def speed_up(rival, end="", name=case.name, n=n):
            return quotient(results, (name + end, n, "gmpx-1p"), (name + end, n, rival))

        rows.append((
            case.name, cell(results, (case.name, n, "gmpx-1p")), speed_up("gmpx"),
            speed_up("gmpx", "-cold"), *map(speed_up, rivals),
            quotient(results, (case.name, n, "gmpx"), (f"{case.name}-worst", n, "gmpx")),
        ))
    if rows:
        headings = ["case", "one P", "gmpx", "cold", *rivals, "worst"]
        columns = [(heading, ">" if i else "<") for i, heading in enumerate(headings)]
        show("What several Ps gain: times with one P over those of each", columns, rows)


def cell(results, key):
    try:
        return amount(median(results.figures(*key).values()) / 1e3, "us")
    except KeyError:
        return ""


def quotient(results, over, under):
    """The median of the ratios within the rounds, or "" where there is none."""
    try:
        above, below = results.figures(*over), results.figures(*under)
    except KeyError:
        return ""
    ratios = [above[turn] / below[turn] for turn in above if turn in below]
    return amount(median(ratios)) if ratios else ""


def results_of(results, case, n, rival):
    """Returns the cells of median, spread and ratio, or why there are none."""
    if results.key(case.name, n, rival) in results.failures:
        return "failed", "", ""
    try:
        found = results.figures(case.name, n, rival)
    except KeyError:
        return "missing", "", ""
    values = found.values()
    spread = f"{amount(min(values))} .. {amount(max(values))}"
    ratio = results.ratio(case, n, rival)
    return amount(median(values), case.unit), spread, "" if ratio is None else amount(ratio)


def show_verdicts(verdicts):
    rows = []
    for verdict in verdicts:
        bound = verdict.bound
        sign = ">=" if bound.least else "<="
        limit = f"{sign} {amount(bound.limit, bound.unit)}"
        if verdict.figure is None:
            rows.append((bound.text, "", limit, f"not checked: no {verdict.missing}"))
        else:
            rows.append((bound.text, amount(verdict.figure, bound.unit), limit, verdict.word))
    show("Bounds", [("of", "<"), ("figure", ">"), ("bound", ">"), ("", "<")], rows)


def show_growth(found):
    """Of gmpx alone: the others' is in --json and --plot."""
    rows = [
        (
            g.case,
            f"{min(g.costs):,} .. {max(g.costs):,}",
            f"x {g.factor:.2f}",
            "grows" if g.marked else "",
        )
        for g in found
        if g.rival == "gmpx"
    ]
    if rows:
        show("Growth of gmpx's cost for one operation", [
            ("case", "<"), ("N", "<"), ("cost", ">"), ("", "<")], rows)


def show_comparison(verdicts, factor):
    rows = [
        (v.case, f"{v.n:,}", amount(v.old), amount(v.new), f"{100 * (v.change - 1):+.1f} %",
         f"{100 * v.threshold:.1f} %", v.word)
        for v in verdicts
    ]
    columns = [("case", "<"), ("N", ">"), ("then", ">"), ("now", ">"), ("change", ">")]
    columns += [("threshold", ">"), ("", "<")]
    show(f"Compared (the machine itself: x {factor:.2f})", columns, rows)
