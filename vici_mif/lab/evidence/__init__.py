# SPDX-License-Identifier: Apache-2.0
"""What the captures and the logs of a lab show, and what that proves."""
