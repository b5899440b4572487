"""What one operation costs at a large N, over what it costs at a small one."""

from dataclasses import dataclass
from statistics import median

MARKED = 1.5
SMALL = 1000


@dataclass(frozen=True)
class Growth:
    """A case's costs: {N: median figure}."""

    case: str
    rival: str
    costs: dict

    @property
    def factor(self):
        """The cost at the largest N over that at the least from SMALL on."""
        sizes = sorted(n for n in self.costs if n >= SMALL)
        return self.costs[sizes[-1]] / self.costs[sizes[0]]

    @property
    def marked(self):
        return self.factor > MARKED


def growths(rows):
    """Of the rows of --json: every case that was measured in ns at two sizes from SMALL on, tenfold
    apart at least."""
    costs = {}
    for row in rows:
        if row["unit"] == "ns" and row["figures"] and row["n"] == row["n_of_rival"]:
            costs.setdefault((row["case"], row["rival"]), {})[row["n"]] = median(row["figures"])
    found = []
    for (case, rival), by_n in costs.items():
        sizes = [n for n in by_n if n >= SMALL]
        if sizes and max(sizes) >= 10 * min(sizes):
            found.append(Growth(case, rival, by_n))
    return found
