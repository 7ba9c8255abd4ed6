# SPDX-License-Identifier: Apache-2.0
"""Shell: the loop that joins core and edges, and the command line."""
