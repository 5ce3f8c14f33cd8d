"""The library for Arduino; https://arduino.github.io/arduino-cli/latest/library-specification/ (format 1.5)."""

from importlib.resources import files

from aed.base.errors import AedError
from aed.target.codegen.prefix import renamed
from aed.target.firmware.formats.delivery import PURPOSE, Delivery, version


def check_arduino(prefix: str, key: str) -> None:
    """Refuses a name that Arduino keeps for itself.

    Args:
        prefix: Of the library.
        key: Of the configuration.

    Raises:
        AedError: Its library manager takes no name that begins with ``Arduino``.
    """
    if prefix.lower().startswith("arduino"):
        raise AedError(f"{key}: Arduino keeps names that begin with arduino for itself, got {prefix}; take another one")


def arduino_files(delivery: Delivery) -> dict[str, str]:
    """Path -> content of the manifest, of the header that has the library's name, and of an example."""
    prefix = delivery.prefix
    properties = {
        "name": prefix,
        "version": version(),
        "author": "aed",
        "maintainer": "aed",
        "sentence": f"{PURPOSE}.",
        "paragraph": delivery.classes,
        "category": "Data Processing",
        "url": delivery.url,
        "architectures": "*",
        "includes": f"{prefix}.h",
        "dot_a_linkage": "true",
    }
    guard = f"{prefix.upper()}_H"
    includes = "".join(f'#include "{name}"\n' for name in delivery.public)
    part = "listen.ino" if delivery.streams else "patches.ino"
    sketch = (files("aed.target.firmware") / "c" / part).read_text(encoding="utf-8")
    return {
        "library.properties": "".join(f"{key}={value}\n" for key, value in properties.items()),
        f"src/{prefix}.h": f"/* Generated: all of it. */\n#ifndef {guard}\n#define {guard}\n\n{includes}\n#endif\n",
        "examples/Listen/Listen.ino": renamed(sketch, prefix).replace("LIBRARY", prefix),
    }
