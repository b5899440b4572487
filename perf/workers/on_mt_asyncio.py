"""mt-asyncio: the programs of asyncio, on its parallel loop."""

from importlib.metadata import version

import mt_asyncio.asyncio as asyncio

asyncio.compat.install()  # before anything imports asyncio's names

from harness import main  # noqa: E402
from on_asyncio import PROGRAMS  # noqa: E402


def on_loop(program):
    return lambda n: asyncio.run(program(n))


if __name__ == "__main__":
    # Its tasks run in parallel: a count without a lock would come out wrong.
    programs = {name: on_loop(p) for name, p in PROGRAMS.items() if name != "waitgroup-contended"}
    main(version("mt-asyncio"), programs)
