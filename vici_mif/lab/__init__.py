# SPDX-License-Identifier: Apache-2.0
"""The lab: hosts in network namespaces, what is captured between them, and the demo."""
