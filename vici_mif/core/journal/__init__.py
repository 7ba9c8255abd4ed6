# SPDX-License-Identifier: Apache-2.0
"""The journal: all that came in and all that was decided, so that it can be decided again."""
