"""From an int8 model to a microcontroller: C code, emulated boards; needs no training code."""
