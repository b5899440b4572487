"""hypertile: the programs of asyncio, with its pool behind the loop and behind to_thread."""

import hypertile

import on_asyncio
from harness import main


def on_loop(program):
    return lambda n: hypertile.run(program(n))


if __name__ == "__main__":
    on_asyncio.to_thread = hypertile.to_thread
    programs = {name: on_loop(program) for name, program in on_asyncio.PROGRAMS.items()}
    main(f"{hypertile.__version__}, {hypertile.default_worker_count()} workers", programs)
