"""C from an int8 graph: program, plan, front end, classes; the kernels in ``c/``."""
