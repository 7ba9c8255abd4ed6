# SPDX-License-Identifier: Apache-2.0
"""What the operator wrote: YAML, configuration, what a reload may change."""
