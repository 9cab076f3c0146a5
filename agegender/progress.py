"""What is said on the way: one bar on stderr, or a line every ten seconds where nobody watches.

Standard output belongs to results; everything here goes to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def say(message: str) -> None:
    """Tell the person in front of the screen something on the way."""
    print(message, file=sys.stderr, flush=True)


def track(
    items: Iterable[Item], label: str, *, total: int | None = None, unit: str = "photo", done: int = 0
) -> Iterator[Item]:
    """Yield `items`, showing on stderr how many have gone by and how many are left; `done` of `total` went by before.

    >>> list(track([1, 2], "counting"))
    [1, 2]
    """
    from tqdm import tqdm

    watched = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=label,
        total=total,
        initial=done,
        unit=f" {unit}s",
        file=sys.stderr,
        mininterval=0.2 if watched else 10.0,
        delay=0 if watched else 10.0,
        leave=False,
        dynamic_ncols=watched,
    )
