# SPDX-License-Identifier: Apache-2.0
"""The systemd units, as files beside this one."""
