# SPDX-License-Identifier: Apache-2.0
"""How tunnels are watched from inside, and what a silence means."""
