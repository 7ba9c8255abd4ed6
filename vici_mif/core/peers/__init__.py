# SPDX-License-Identifier: Apache-2.0
"""Several peers beside each other."""
