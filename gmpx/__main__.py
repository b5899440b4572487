"""``python -m gmpx [--no-patch] script.py args …``, ``-m module …``, ``-c code …`` or ``- …``: runs a program patched.

The program's main code is the main goroutine. With --no-patch nothing of the standard library changes.
"""

import builtins
import io
import os
import runpy
import sys
import types
import zipfile

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
    option = args.pop(0) if args[:1] in (["-m"], ["-c"], ["-"]) else ""
    if option != "-" and (not args or option != "-c" and args[0].startswith("-")):
        sys.exit(USAGE)
    if patch:
        import gmpx.patch

        gmpx.patch.all()
    sys.argv[:] = args if option in ("", "-m") else [option, *args[option == "-c" :]]
    if option == "-m":
        put_on_path(os.getcwd())
        runpy.run_module(args[0], run_name="__main__", alter_sys=True)
    elif option:
        put_on_path("")
        source = args[0] if option == "-c" else sys.stdin.read()
        run_source(source, "<string>" if option == "-c" else "<stdin>", {})
    else:
        run_file(args[0])


def put_on_path(directory: str) -> None:
    if not getattr(sys.flags, "safe_path", False):  # else it is not the script's directory that is there
        sys.path[0] = directory


def run_file(name: str) -> None:
    """As ``python name`` does."""
    path = os.path.abspath(name)
    if not os.path.exists(path):
        sys.exit(f"python -m gmpx: no such file: {name}")
    put_on_path(os.path.dirname(path))
    if os.path.isdir(path) or zipfile.is_zipfile(path):
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
