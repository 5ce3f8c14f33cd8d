"""ST's 'getting started' audio firmware: the files it reads, a package of them, its build and its flashing."""

from aed.target.firmware.stm32.build import build_and_flash
from aed.target.firmware.stm32.package import Package, deploy_stm32, variant_of
from aed.target.firmware.stm32.tools import Command, Tools

__all__ = ["Command", "Package", "Tools", "build_and_flash", "deploy_stm32", "variant_of"]
