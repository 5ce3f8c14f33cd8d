"""The library as a Zephyr module; https://docs.zephyrproject.org/latest/develop/modules.html."""

from aed.target.firmware.formats.delivery import Delivery


def zephyr_files(delivery: Delivery) -> dict[str, str]:
    """Path -> content of the files that make it a module, switched on by ``CONFIG_<PREFIX>``."""
    prefix, option = delivery.prefix, delivery.prefix.upper()
    sources = "\n".join(f"    ../{path}" for path in delivery.inside("src", ".c"))
    return {
        "zephyr/module.yml": f"name: {prefix}\nbuild:\n  cmake: zephyr\n  kconfig: zephyr/Kconfig\n",
        "zephyr/Kconfig": f"""# Generated
config {option}
\tbool "Sounds: {prefix}"
\tdepends on FULL_LIBC_SUPPORTED
\tselect REQUIRES_FULL_LIBC
\timply FPU if CPU_HAS_FPU
\thelp
\t  A net that recognises sounds, and its front end: see README.md
\t  of the module. It uses memcpy, memset, memmove and a few
\t  functions of math.h.
""",
        "zephyr/CMakeLists.txt": f"""# Generated
if(CONFIG_{option})
  zephyr_library_named({prefix})
  zephyr_library_sources(
{sources}
  )
  zephyr_include_directories(../{delivery.headers})
endif()
""",
    }
