# SPDX-License-Identifier: Apache-2.0
"""The decisions: facts in, orders out. No IO, no clock, no logging, no await."""
