# SPDX-License-Identifier: Apache-2.0
"""What is counted, and how Prometheus reads it."""
