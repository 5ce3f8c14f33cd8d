"""Manifests by which the tools of firmware people take in the library: Zephyr, Arduino, PlatformIO, CMSIS-Pack."""
