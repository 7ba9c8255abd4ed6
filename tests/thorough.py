# SPDX-License-Identifier: Apache-2.0
"""How many examples Hypothesis tries: `make full` asks for many times those of `make check`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def thorough(examples: int) -> settings:
    """Settings for a test with so many examples in `make check`."""
    times = int(os.environ.get("VICI_MIF_THOROUGH", "1"))
    slow = [HealthCheck.too_slow]
    return settings(max_examples=examples * times, deadline=None, suppress_health_check=slow)
