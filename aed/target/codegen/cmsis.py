"""CMSIS-DSP's Fourier transform in the front end, for those who have it on their board anyway.

Source: https://github.com/ARM-software/CMSIS-DSP (from 1.14.3 on); its Python package ``cmsisdsp`` holds it too.
"""

from pathlib import Path

from aed.base.errors import AedError
from aed.target.codegen.library import Library

UNITS = (
    "TransformFunctions/arm_rfft_fast_init_f32.c",
    "TransformFunctions/arm_rfft_fast_f32.c",
    "TransformFunctions/arm_cfft_init_f32.c",
    "TransformFunctions/arm_cfft_f32.c",
    "TransformFunctions/arm_cfft_radix8_f32.c",
    "TransformFunctions/arm_bitreversal2.c",
    "CommonTables/arm_common_tables.c",
    "CommonTables/arm_const_structs.c",
)

N_FFT = (32, 4096)
"""Shortest and longest transform."""


def find_cmsis_dsp(folder: Path, n_fft: int) -> Library:
    """The library in ``folder``, a checkout of CMSIS-DSP, for transforms of ``n_fft`` samples.

    Raises:
        AedError: A file is missing, or it has no transform of that length.
    """
    units = tuple(folder / "Source" / unit for unit in UNITS)
    if missing := [str(path) for path in (*units, folder / "Include/arm_math.h") if not path.is_file()]:
        raise AedError(
            f"emulator.cmsis_dsp: {missing[0]} is missing; give the folder of a checkout of CMSIS-DSP >= 1.14.3"
        )
    if not N_FFT[0] <= n_fft <= N_FFT[1]:
        raise AedError(f"emulator.cmsis_dsp: transforms of {N_FFT[0]} to {N_FFT[1]} samples, frontend.n_fft is {n_fft}")
    includes = (f"-I{folder / 'Include'}", f"-I{folder / 'PrivateInclude'}")
    # __GNUC_PYTHON__: its own switch for builds without CMSIS-Core, hence without its intrinsics
    return Library(units, (*includes, "-DAED_FE_CMSIS_DSP", "-D__GNUC_PYTHON__", "-w"))
