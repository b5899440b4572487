"""Compiles floor.pyx: python build_floor.py PLACE SCRATCH, the directories for module and rest."""

import os
import sys
from pathlib import Path

import greenlet
from Cython.Build import cythonize
from setuptools import Extension, setup

place, scratch = (Path(name).resolve() for name in sys.argv[1:])
os.chdir(Path(__file__).resolve().parent)  # the generated C is named after the relative path
floor = Extension("floor", ["floor.pyx"], include_dirs=[str(Path(greenlet.__file__).parent)])
setup(
    name="floor",
    ext_modules=cythonize([floor], build_dir=str(scratch), quiet=True),
    script_args=["-q", "build_ext", f"--build-lib={place}", f"--build-temp={scratch}"],
)
