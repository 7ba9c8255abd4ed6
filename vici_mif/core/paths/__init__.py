# SPDX-License-Identifier: Apache-2.0
"""Links × remotes: which pairs of addresses there are and what is known of each."""
