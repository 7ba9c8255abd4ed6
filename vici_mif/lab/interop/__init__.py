# SPDX-License-Identifier: Apache-2.0
"""The rig: implementations against each other, in containers or in plain namespaces."""
