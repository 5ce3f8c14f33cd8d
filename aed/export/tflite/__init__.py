"""Models of TensorFlow Lite as ONNX graphs of the same arithmetic: int8 with the file's own steps, or float."""

from aed.export.tflite.convert import Converted, convert, patch_of

__all__ = ["Converted", "convert", "patch_of"]
