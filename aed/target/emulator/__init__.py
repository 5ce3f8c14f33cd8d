"""The generated C on boards that QEMU emulates.

``backend.py`` is the backend of ``target=emulator``, ``device.py`` an emulated board that turns clips into outputs;
``toolchain.py`` builds programs, ``qemu.py`` runs them, ``measure.py`` measures their costs.
"""
