# SPDX-License-Identifier: Apache-2.0
"""What operators order by hand: the orders, what follows from them, how far that has come."""
