# SPDX-License-Identifier: Apache-2.0
"""What became of the orders that operators gave by hand."""
