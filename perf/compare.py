"""--compare OLD.json: what has become faster or slower since another run, by more than the noise.

A figure of a run is the least of its rounds: what disturbs a turn can only lengthen it. A machine that
is slower as a whole today is no verdict: all figures of time are divided by how much the floors
(an empty call, a greenlet switch, a hash: nothing of gmpx) have changed between the two runs.

A case is called slower or faster when its change exceeds the threshold: the noise of both runs, and
at least LEAST. Noise is how far half of a run's rounds lie above its least one, for the case itself
and for the floors.
"""

import json
from dataclasses import dataclass
from math import exp, log
from statistics import median

LEAST = 0.06


@dataclass(frozen=True)
class Verdict:
    """What has become of one case at one N."""

    case: str
    n: int
    old: float
    new: float
    change: float  # of the figure, machines being equal: 1.1 is a tenth more
    threshold: float
    word: str  # "faster", "slower", "same"


def load(path):
    with open(path) as file:
        content = json.load(file)
    if content.get("format") != 1:
        raise ValueError(f"{path} is not a file of --json")
    return content


def noise(figures):
    """How far the middle of the rounds lies above the least, as a part of it."""
    least = min(figures)
    return (median(figures) - least) / least if least else 0.0


def rows_of(content, rival):
    return {
        (row["case"], row["n"]): row
        for row in content["results"]
        if row["rival"] == rival and row["figures"]
    }


def machines(old, new):
    """(how many times slower the new run's machine was, the noise of that)."""
    before, now = rows_of(old, "floor"), rows_of(new, "floor")
    shared = [at for at in before if at in now and before[at]["unit"] == "ns"]
    if not shared:
        return 1.0, 0.0
    logs = [log(min(now[at]["figures"]) / min(before[at]["figures"])) for at in shared]
    middle = median(logs)
    apart = median(abs(each - middle) for each in logs)
    return exp(middle), apart


def compare(old, new):
    """The verdicts on all that gmpx has done in both runs."""
    factor, apart = machines(old, new)
    before, now = rows_of(old, "gmpx"), rows_of(new, "gmpx")
    found = []
    for at, row in now.items():
        if at not in before:
            continue
        was, is_ = min(before[at]["figures"]), min(row["figures"])
        if not was:
            continue
        change = is_ / was / (factor if row["unit"] == "ns" else 1)
        threshold = max(
            LEAST, noise(before[at]["figures"]) + noise(row["figures"]) + apart
        )
        word = "same"
        if change > 1 + threshold:
            word = "slower"
        elif change < 1 / (1 + threshold):
            word = "faster"
        found.append(Verdict(*at, was, is_, change, threshold, word))
    return found, factor
