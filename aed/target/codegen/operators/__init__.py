"""The operators that have a C kernel, one file each: how a node is checked, planned and written as C.

A file has the classes of its layers (:class:`aed.target.codegen.program.Layer`) and ``LOWERINGS``, which maps ONNX
operators to functions that append such layers; every file in this folder is read.
"""

import importlib
import pkgutil

from aed.target.codegen.walk import Lowering

OPERATORS: dict[str, Lowering] = {}
"""By ONNX operator."""

for _file in pkgutil.iter_modules(__path__):
    OPERATORS |= importlib.import_module(f"{__name__}.{_file.name}").LOWERINGS
