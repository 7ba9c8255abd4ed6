# SPDX-License-Identifier: Apache-2.0
"""The lab's own error."""

from __future__ import annotations


class LabError(Exception):
    """The lab could not do what was asked; the text says what happened, where, and what to do."""
