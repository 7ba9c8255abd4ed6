# SPDX-License-Identifier: Apache-2.0
"""What is wished of the kernel: rules, routes, interfaces, guard, MTU."""
