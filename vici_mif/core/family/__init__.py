# SPDX-License-Identifier: Apache-2.0
"""What one authentication gave: its IKE SAs, their children, how they come and go."""
