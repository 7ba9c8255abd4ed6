# SPDX-License-Identifier: Apache-2.0
"""Edges: one foreign library or tool each; they never import each other or the planner."""
