"""Compiles the C programs of the network's cases into perf/.cache, unless that has been done."""

import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
FLAGS = ("-O2", "-Wall")


class NotThere(Exception):
    """Something that a case takes and that this machine has not; the text says what."""


def program(name):
    """Returns the path of the program of name.c."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise NotThere("no C compiler to be found")
    source = HERE / f"{name}.c"
    seen = source.read_bytes() + (HERE / "messages.h").read_bytes() + compiler.encode()
    key = hashlib.sha256(seen).hexdigest()[:12]
    path = CACHE / f"net-{name}-{key}"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        made = path.with_suffix(".new")
        command = [compiler, *FLAGS, "-o", str(made), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotThere(f"{compiler}: {done.stderr.strip().splitlines()[0]}")
        made.rename(path)
    return str(path)
