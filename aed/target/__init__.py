"""From an int8 model to a microcontroller: C code, costs on boards, firmware; imports no training code.

**A board** is one file, ``configs/boards/<name>.yaml``, with the fields of :class:`aed.target.boards.Board`; every
``board=`` then accepts its name. Its fields decide who can use it: ``machine`` or ``emulated_by`` the emulator,
``series`` ST's tool, ``cloud_name`` ST's cloud, ``firmware`` ``deploy target=stm32``.

**A backend** answers one question, the costs of a model on a board, and is one folder here:

- ``backend.py``: a class of the protocol :class:`aed.target.protocol.Backend`, ``analyze`` and ``benchmark``, which
  return a :class:`aed.target.report.Report`, every figure with its source;
- ``settings.py``: a frozen dataclass of the protocol :class:`aed.target.protocol.Settings`, whose fields become the
  keys ``<backend>.<field>`` and whose docstring becomes their help.

A field of :class:`aed.run.benchmark.BenchmarkConfig`, the name in its ``TARGETS`` and a line of
:attr:`aed.target.boards.Board.backends` (which boards it knows) connect it; ``target=<backend>`` then works in
``aed benchmark`` and in the stage, and settings of other backends are refused.

**An operator** of the C code is one file in ``codegen/operators/`` and a kernel in ``codegen/c/``.

Rooms: ``codegen/`` (program, walk, operators, plan, C text), ``host.py`` (that C on this machine), ``emulator/``,
``stedgeai/``, ``cloud/`` (backends), ``firmware/`` (the library of C, ST's audio firmware).
"""
