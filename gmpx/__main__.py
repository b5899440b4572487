"""``python -m gmpx [--no-patch] script.py args …``, ``-m module …``, ``-c code …`` or ``- …``: runs a program patched.

The program's main code is the main goroutine. With --no-patch nothing of the standard library changes.
"""

import builtins
import contextlib
import io
import os
import runpy
import sys
import types
import zipfile
from collections.abc import Iterator
from types import TracebackType
from typing import NoReturn

from gmpx import __version__

#: The files of what lies between the interpreter and the program.
OURS = (__file__, contextlib.__file__, runpy.__file__, "<frozen runpy>")
USAGE = "usage: python -m gmpx [--no-patch] (script.py | -m module | -c code | -) [args …]"


def main() -> None:
    args = sys.argv[1:]
    patch = True
    if args[:1] == ["--no-patch"]:
        patch = False
        del args[0]
    if args and args[0] in ("-h", "--help"):
        print(f"{USAGE}\n\n{(__doc__ or '').strip()}")
        return
    if args and args[0] in ("-V", "--version"):
        print(f"gmpx {__version__}")
        return
    option = args.pop(0) if args[:1] in (["-m"], ["-c"], ["-"]) else ""
    if option != "-" and (not args or option != "-c" and args[0].startswith("-")):
        wrong(USAGE)
    if patch:
        import gmpx.patch

        gmpx.patch.all()
    try:
        run(option, args)
    except BaseException:
        hook = sys.excepthook
        sys.excepthook = lambda kind, error, tb: hook(kind, error.with_traceback(shown := below(tb)), shown)
        raise


def wrong(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(2)


def below(tb: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the program's."""
    while tb is not None and tb.tb_frame.f_code.co_filename in OURS:
        tb = tb.tb_next
    return tb


def run(option: str, args: list[str]) -> None:
    sys.argv[:] = args if option in ("", "-m") else [option, *args[option == "-c" :]]
    if option == "-m":
        put_on_path(os.getcwd())
        with as_python_says():
            runpy.run_module(args[0], run_name="__main__", alter_sys=True)
    elif option:
        put_on_path("")
        source = args[0] if option == "-c" else sys.stdin.read()
        run_source(source, "<string>" if option == "-c" else "<stdin>", {})
    else:
        run_file(args[0])


@contextlib.contextmanager
def as_python_says() -> Iterator[None]:
    """What is not there is said in a line."""
    try:
        yield
    except ImportError as error:
        if below(error.__traceback__) is not None:
            raise
        sys.exit(f"{sys.executable}: {error}")


def put_on_path(directory: str) -> None:
    if not getattr(sys.flags, "safe_path", False):  # else it is not the script's directory that is there
        sys.path[0] = directory


def run_file(name: str) -> None:
    """As ``python name`` does."""
    path = os.path.abspath(name)
    if not os.path.exists(path):
        wrong(f"python -m gmpx: no such file: {name}")
    put_on_path(os.path.dirname(path))
    if os.path.isdir(path) or zipfile.is_zipfile(path):
        with as_python_says():
            runpy.run_path(path, run_name="__main__")  # puts it on the path itself
        return
    with io.open_code(path) as file:
        run_source(file.read(), path, {"__file__": path})


def run_source(source: str | bytes, name: str, names: dict[str, object]) -> None:
    code = compile(source, name, "exec", dont_inherit=True)
    module = types.ModuleType("__main__")
    module.__dict__.update(names, __builtins__=builtins)
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


if __name__ == "__main__":
    main()
