# SPDX-License-Identifier: Apache-2.0
"""What operators asked for by hand."""
