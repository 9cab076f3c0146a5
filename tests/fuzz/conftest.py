"""How long the fuzzers look: shortly in the suite, and as long as `AGEGENDER_FUZZ=1` says by hand.

`AGEGENDER_FUZZ=1 pytest -n 0 -m "not slow" tests/fuzz` gives the readers more than 100,000 inputs and whole commands
more than 1,000, all in one process, and says at its end how many there were, which took longest, and the most memory;
AGEGENDER_FUZZ=0.1 gives a tenth. What fails is not made smaller there.
"""

from __future__ import annotations

import functools
import os
import resource
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings

LONG = float(os.environ.get("AGEGENDER_FUZZ", "0"))
_TOOK: dict[str, list[float]] = {}  # test -> processor seconds of each input


def examples(few: int, many: int = 0) -> Callable[[Any], Any]:
    """Decorate a Hypothesis test that looks at `few` inputs in the suite, and at `many` (ten times as many) by hand."""

    def decorate(test: Any) -> Any:
        inner, took = test.hypothesis.inner_test, _TOOK.setdefault(test.__name__, [])

        @functools.wraps(inner)
        def timed(*words: Any, **named: Any) -> None:
            started = time.process_time()
            try:
                inner(*words, **named)
            finally:
                took.append(time.process_time() - started)

        test.hypothesis.inner_test = timed
        return settings(
            max_examples=max(1, round((many or 10 * few) * LONG)) if LONG else few,
            deadline=None,
            derandomize=not LONG,
            database=None,
            phases=[Phase.generate] if LONG else list(Phase),
            suppress_health_check=list(HealthCheck),
        )(test)

    return decorate


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much was looked at, where that was more than the suite does."""
    found = {name: took for name, took in _TOOK.items() if took}
    if not (LONG and found):
        return
    for name, took in found.items():
        terminalreporter.write_line(
            f"{len(took):7,} inputs, {sum(took):6.0f} s of processor, the slowest {max(took):5.2f} s: {name}"
        )
    peak_megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    terminalreporter.write_line(
        f"{sum(map(len, found.values())):7,} inputs in one process, {sum(map(sum, found.values())):,.0f} s of "
        f"processor; at most {peak_megabytes:,.0f} MB of memory."
    )
