"""Owns an evenly spread sequence: any first so many of its points fill the unit cube more evenly than chance would.

It lets labels be balanced jointly although each face is drawn without knowing how many there will be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 4
_BITS = 30
# Degree, inner coefficients and first direction numbers of each dimension after the first (Joe and Kuo, new-joe-kuo-6).
_POLYNOMIALS = ((1, 0, (1,)), (2, 1, (1, 3)), (3, 1, (1, 3, 1)))


def sobol_point(index: int) -> NDArray[np.float64]:
    """Return point number `index` of Sobol's sequence, shape (4,), in [0, 1).

    The points come in the order of the plain binary code, in which every first 2^k are the same as in Gray's.

    References
    ----------
    Joe, Kuo: Constructing Sobol sequences with better two-dimensional projections, SIAM J. Sci. Comput. 30, 2008.

    >>> sobol_point(1).tolist(), sobol_point(2).tolist()
    ([0.5, 0.5, 0.5, 0.5], [0.25, 0.75, 0.75, 0.75])
    """
    point = np.zeros(DIMENSIONS, np.int64)
    for bit in range(index.bit_length()):
        if index >> bit & 1:
            point ^= _DIRECTIONS[bit]
    return point / 2.0**_BITS


def _directions() -> NDArray[np.int64]:
    columns = [[1 << (_BITS - 1 - bit) for bit in range(_BITS)]]
    for degree, inner, first in _POLYNOMIALS:
        numbers = list(first)
        for bit in range(degree, _BITS):
            number = numbers[bit - degree] ^ (numbers[bit - degree] << degree)
            for step in range(1, degree):
                if inner >> (degree - 1 - step) & 1:
                    number ^= numbers[bit - step] << step
            numbers.append(number)
        columns.append([number << (_BITS - 1 - bit) for bit, number in enumerate(numbers)])
    return np.array(columns, np.int64).T


_DIRECTIONS = _directions()  # (bits, dimensions)
