"""uvloop: the programs of asyncio, on its loop."""

import uvloop

from on_asyncio import run_on

if __name__ == "__main__":
    run_on(uvloop.new_event_loop(), f"{uvloop.__version__}")
