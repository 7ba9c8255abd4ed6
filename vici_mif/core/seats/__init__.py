# SPDX-License-Identifier: Apache-2.0
"""Which tunnel sits on which path: decisions, moves, tests."""
