# SPDX-License-Identifier: Apache-2.0
"""What this package raises."""


class BuildError(Exception):
    """What happened, where, and what to do about it, in words for the operator."""


class UnavailableError(BuildError):
    """Something of the outside world cannot be had: a mirror, a package that is gone."""
