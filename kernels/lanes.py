"""What arrays may be given to kernels, which do not look where they read and write."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.simd import LANES


def check_lanes(array: NDArray[np.float32], samples: int = 0) -> None:
    """Raise ValueError unless the array is (8, samples or more) float32 with contiguous samples."""
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[0] != LANES:
        raise ValueError(f"expected float32 of shape ({LANES}, n), not {array.dtype} of shape {array.shape}")
    if array.shape[1] < samples:
        raise ValueError(f"{samples} samples are ready, the output has room for {array.shape[1]}")
    check_contiguous(array)


def check_contiguous(*arrays: NDArray[Any]) -> None:
    """Raise ValueError unless the second dimension of each array is contiguous."""
    for array in arrays:
        several = array.size and array.shape[1] > 1  # strides of others are numpy's whim
        if several and array.strides[1] != array.itemsize:
            raise ValueError("samples or columns have gaps: they must be contiguous in memory")
