"""The library for PlatformIO; https://docs.platformio.org/en/latest/manifests/library-json/."""

import json

from aed.target.firmware.formats.delivery import Delivery, version


def platformio_files(delivery: Delivery) -> dict[str, str]:
    """Path -> content of the manifest."""
    manifest = {
        "name": delivery.name,
        "version": version(),
        "description": delivery.description,
        "keywords": ["audio", "sound", "machine learning"],
        "homepage": delivery.url,
        "authors": [{"name": "aed"}],
        "license": "Apache-2.0",
        "headers": list(delivery.public),
        "frameworks": "*",
        "platforms": "*",
        "build": {"srcDir": "src", "includeDir": delivery.headers, "libArchive": True},
        "export": {"exclude": ["*.pack"]},
    }
    return {"library.json": json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"}
