# SPDX-License-Identifier: Apache-2.0
"""What lies between the hosts of a lab: delay, loss, NAT."""
