"""Other processors than this one, as far as one can pretend: for the tests that bytes are the same on all of them."""

from __future__ import annotations

import platform

_X86 = platform.machine() in ("x86_64", "AMD64")

SURROUNDINGS: list[tuple[int, dict[str, str]]] = [
    (1, {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OPENBLAS_NUM_THREADS": "2"}),
    (
        2,
        {
            "MKL_NUM_THREADS": "2",
            "OPENBLAS_NUM_THREADS": "1",
            **({"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "OPENBLAS_CORETYPE": "Haswell"} if _X86 else {}),
        },
    ),
]
"""Threads of torch and environment: the oldest instructions and those of 2013, besides whatever the processor has.

ATen and MKL are torch's own, OpenBLAS is NumPy's.
"""
