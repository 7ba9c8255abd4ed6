# SPDX-License-Identifier: Apache-2.0
"""How many examples Hypothesis tries: `make full` asks for many times those of `make check`.

`make check` tries the same ones each time, so that it says of a change what it says of it later;
what nobody has thought of yet is looked for by `make full`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def thorough(examples: int) -> settings:
    """Settings for a test with so many examples in `make check`."""
    times = int(os.environ.get("VICI_MIF_THOROUGH", "1"))
    slow = [HealthCheck.too_slow]
    return settings(
        max_examples=examples * times,
        derandomize=times == 1,
        deadline=None,
        suppress_health_check=slow,
    )
