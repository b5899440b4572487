"""The child of test_native.py: loads one harness and runs its drivers.

Usage: drive.py DIRECTORY SEED ITEMS STUCK_S DRIVER...

Prints one line per driver, exits with 1 on the first that found something. ThreadSanitizer,
which is preloaded, turns any other exit into 66 when it has reported a race.
"""

import random
import sys


def fifo(harness, seed, items):
    """R5 with one owner and no thief: the ring and the global queue against plain lists."""
    rng = random.Random(seed)
    half = harness.SLOTS // 2
    ring, overflow = [], []
    harness.one_thread(items)
    for item in range(items):
        if len(ring) == harness.SLOTS:
            overflow += ring[:half] + [item]
            del ring[:half]
        else:
            ring.append(item)
        harness.put()
        while rng.random() < 0.45:
            expected = ring.pop(0) if ring else None
            if (got := harness.get()) != expected:
                return f"runq_get: {got} instead of {expected}"
        if rng.random() < 0.05:
            most = rng.randrange(half + 1) if not ring else 1
            n = min(len(overflow), most or half, half)
            expected = overflow[0] if n else None
            ring += overflow[1:n]
            del overflow[:n]
            if (got := harness.get_global(most)) != expected:
                return f"glob_runq_get({most}): {got} instead of {expected}"
    while ring:
        if (got := harness.get()) != ring[0]:
            return f"runq_get: {got} instead of {ring[0]}"
        del ring[0]
    while overflow:
        if (got := harness.get_global(1)) != overflow[0]:
            return f"glob_runq_get(1): {got} instead of {overflow[0]}"
        del overflow[0]
    return None


def main(directory, seed, items, stuck, *drivers):
    sys.path.insert(0, directory)
    import harness

    harness.init(float(stuck))
    seed, items = int(seed), int(items)
    for name in drivers:
        if name == "fifo":
            found = fifo(harness, seed, min(items, 20000))
        else:
            driver, _, threads = name.partition(":")
            found = getattr(harness, driver)(seed, int(threads or 3), items)
        print(f"{name}, {harness.SLOTS} slots, seed {seed}: {found or 'ok'}", flush=True)
        if found:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
