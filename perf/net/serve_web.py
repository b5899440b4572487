"""The server of web-*: RIVAL APP. gunicorn with one worker of that rival's kind, or uvicorn for uvloop.

It prints its port and becomes that server, which has the listener by its number.
"""

import os
import sys
from pathlib import Path

from messages import listener, tell

WORKERS = {"gmpx": "gmpx.gunicorn.Worker", "gevent": "gevent", "threads": "gthread"}


def main():
    rival, app = sys.argv[1:]
    listening = listener()
    fd = listening.fileno()
    os.set_inheritable(fd, True)
    if rival == "uvloop":
        words = "-m", "uvicorn", "--fd", fd, "--no-access-log", "--log-level", "error", f"web_app:asgi_{app}"
    else:
        options = f"-b fd://{fd} --threads 64 --keep-alive 30 --log-level error --no-control-socket"
        words = "-m", "gunicorn", "-k", WORKERS[rival], *options.split(), f"web_app:wsgi_{app}"
    tell(listening)
    os.chdir(Path(__file__).parent)
    # gunicorn and uvicorn import the app from here
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), os.getcwd())))
    os.execv(sys.executable, [sys.executable, *map(str, words)])


if __name__ == "__main__":
    main()
