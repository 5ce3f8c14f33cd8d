"""The C on emulated boards: builds, sessions of QEMU, counted instructions."""
