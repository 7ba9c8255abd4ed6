# SPDX-License-Identifier: Apache-2.0
"""How tunnels behave, in figures."""
