# SPDX-License-Identifier: Apache-2.0
"""The one exception of this package."""


class BuildError(Exception):
    """What happened, where, and what to do about it, in words for the operator."""
