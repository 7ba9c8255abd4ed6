# SPDX-License-Identifier: Apache-2.0
"""Numbered payload through the tunnels of a lab."""
