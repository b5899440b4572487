"""Builds gmpx._core, the one extension module; everything else is in pyproject.toml.

Switches, read from the environment:

    GMPX_DEBUG=1              -O1 -g, C assertions and the runtime's own checks (-DGMPX_DEBUG=1)
    GMPX_SANITIZE=thread      builds for ThreadSanitizer; "address" and "undefined" likewise.
                              An interpreter built without it needs the sanitizer's library
                              in LD_PRELOAD.
    GMPX_ANNOTATE=1           writes Cython's annotated HTML beside the generated C

The generated C goes to build/cython-VERSION/: a new Cython starts afresh, and nothing
generated stands in the package directory but the extension of an editable install.
"""

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext as _build_ext

ROOT = Path(__file__).resolve().parent


def switch(name):
    return os.environ.get(name, "") not in ("", "0")


DEBUG = switch("GMPX_DEBUG")
SANITIZE = os.environ.get("GMPX_SANITIZE", "")
ANNOTATE = switch("GMPX_ANNOTATE")

if SANITIZE not in ("", "address", "thread", "undefined"):
    raise SystemExit(f"GMPX_SANITIZE={SANITIZE}: expected thread, address or undefined")


def greenlet_include_dirs():
    """Finds greenlet.h: wheels carry it in the package, distributions among Python's headers."""
    import greenlet

    paths = sysconfig.get_paths()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [
        Path(greenlet.__file__).parent,
        Path(sys.prefix, "include", "site", python, "greenlet"),
        Path(paths["include"], "greenlet"),
        Path(paths["platinclude"], "greenlet"),
    ]
    for directory in candidates:
        if (directory / "greenlet.h").is_file():
            # The parent serves those who write <greenlet/greenlet.h>.
            return [str(directory), str(directory.parent)]
    raise SystemExit(
        f"greenlet {greenlet.__version__} is installed without its header greenlet.h; looked in "
        + ", ".join(map(str, candidates))
    )


def compiler_options(compiler_type):
    """Returns (macros, undefined macros, compile arguments, link arguments)."""
    macros, undefined, compile_args, link_args = [], [], [], []
    if DEBUG:
        macros.append(("GMPX_DEBUG", "1"))
        undefined.append("NDEBUG")
    if compiler_type == "msvc":
        compile_args += ["/std:c11", "/experimental:c11atomics"]
        compile_args += ["/Od", "/Zi"] if DEBUG else ["/O2"]
        if DEBUG:
            link_args.append("/DEBUG")
        if SANITIZE == "address":
            compile_args.append("/fsanitize=address")
        elif SANITIZE:
            raise SystemExit(f"GMPX_SANITIZE={SANITIZE}: MSVC has only address")
        if sysconfig.get_config_var("Py_GIL_DISABLED"):
            # Up to 3.13 the Windows headers leave this to the builder of an extension.
            macros.append(("Py_GIL_DISABLED", "1"))
        return macros, undefined, compile_args, link_args

    compile_args += ["-std=gnu11", "-O1" if DEBUG else "-O3"]
    compile_args += [
        "-fvisibility=hidden",
        # A thread that the interpreter ends (pthread_exit, up to 3.13) unwinds through our
        # frames: __attribute__((cleanup)) runs only in code that has unwind tables.
        "-fexceptions",
    ]
    if sys.platform.startswith("linux"):
        compile_args.append("-fno-semantic-interposition")
    if DEBUG or SANITIZE:
        compile_args += ["-g", "-fno-omit-frame-pointer"]
    if SANITIZE:
        compile_args.append(f"-fsanitize={SANITIZE}")
        link_args.append(f"-fsanitize={SANITIZE}")
    return macros, undefined, compile_args, link_args


def tell_files_apart(source):
    """Cython keeps the code objects of its traceback frames by line number alone, so that frames of
    our many included files stand in for each other. The key gets the file's name (pycompat.h)."""
    text = source.read_text()
    key = "c_line ? -c_line : py_line"
    if key in text:
        source.write_text(text.replace(key, "gm_traceback_key(filename, c_line, py_line)"))


class build_ext(_build_ext):
    """Runs Cython when, and only when, an extension is built; rebuilds when a switch changed."""

    def build_extension(self, ext):
        import Cython
        import greenlet
        from Cython.Build import cythonize

        macros, undefined, compile_args, link_args = compiler_options(self.compiler.compiler_type)
        ext.define_macros += macros
        ext.undef_macros += undefined
        ext.extra_compile_args += compile_args
        ext.extra_link_args += link_args
        ext.include_dirs += [str(ROOT / "gmpx"), *greenlet_include_dirs()]

        generated = Path("build", f"cython-{Cython.__version__}")
        (module,) = cythonize(
            [ext],
            build_dir=str(generated),
            annotate=ANNOTATE,
            force=self.force or ANNOTATE,
        )
        ext.sources = module.sources
        for source in map(Path, module.sources):
            tell_files_apart(source)

        # File times tell that a source changed, not that an option did.
        stamp = Path(self.build_temp, f"{ext.name}.options")
        options = "\n".join(
            [
                f"cython {Cython.__version__}, greenlet {greenlet.__version__}",
                *(f"{name}={os.environ.get(name, '')}" for name in ("CC", "CFLAGS", "LDFLAGS")),
                *map(repr, (macros, undefined, compile_args, link_args)),
            ]
        )
        if not stamp.is_file() or stamp.read_text() != options:
            self.force = True
        super().build_extension(ext)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(options)

        if ANNOTATE:
            for page in generated.rglob("*.html"):
                print(f"annotation: {page}")


def sources(*patterns):
    return sorted(
        path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)
    )


setup(
    cmdclass={"build_ext": build_ext},
    ext_modules=[
        Extension(
            "gmpx._core",
            sources=["gmpx/_core.pyx"],
            # An edit to any of these rebuilds the module.
            depends=sources("gmpx/*.pxd", "gmpx/*.h", "gmpx/rt/*/*.pxi", "gmpx/rt/*/*.h"),
        )
    ],
)
