# SPDX-License-Identifier: Apache-2.0
"""Exit statuses. 0 to 2 are the state of the peers (core.status)."""

OK = 0
FAILED = 1
NO_CONTROLLER = 3
USAGE = 64
UNAVAILABLE = 69
NOT_PERMITTED = 77
CONFIG = 78
