"""How long the fuzzers look: shortly in the suite, longer with AGEGENDER_FUZZ_EXAMPLES=20000."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("AGEGENDER_FUZZ_EXAMPLES", "0"))


def examples(few: int) -> settings:
    """Return Hypothesis' settings for `few` examples, or as many as the environment asks for."""
    return settings(
        max_examples=EXAMPLES or few,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
