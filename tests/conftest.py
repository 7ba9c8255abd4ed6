# SPDX-License-Identifier: Apache-2.0
"""For all tests: no example of Hypothesis is too slow, since the machine may be busy."""

from __future__ import annotations

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:
    pass  # scripts/ansible-test has none
else:
    slow = [HealthCheck.too_slow]
    settings.register_profile("patient", deadline=None, suppress_health_check=slow)
    settings.load_profile("patient")
