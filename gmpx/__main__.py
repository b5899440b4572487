"""``python -m gmpx [--no-patch] script.py args …``, or ``-m module args …``: runs a program patched.

The program's main code is the main goroutine. With --no-patch nothing of the standard library changes.
"""

import os
import runpy
import sys

USAGE = "usage: python -m gmpx [--no-patch] (script.py | -m module) [args …]"


def main() -> None:
    args = sys.argv[1:]
    patch = True
    if args[:1] == ["--no-patch"]:
        patch = False
        del args[0]
    if args and args[0] in ("-h", "--help"):
        print(f"{USAGE}\n\n{(__doc__ or '').strip()}")
        return
    module = args[:1] == ["-m"]
    if module:
        del args[0]
    if not args or args[0].startswith("-"):
        sys.exit(USAGE)
    if patch:
        import gmpx.patch

        gmpx.patch.all()
    sys.argv[:] = args
    if module:
        sys.path[0] = os.getcwd()
        runpy.run_module(args[0], run_name="__main__", alter_sys=True)
    else:
        if not os.path.exists(args[0]):
            sys.exit(f"python -m gmpx: no such file: {args[0]}")
        # a directory or zip file is put on the path by run_path itself
        sys.path[0] = os.path.dirname(os.path.abspath(args[0]))
        runpy.run_path(args[0], run_name="__main__")


if __name__ == "__main__":
    main()
