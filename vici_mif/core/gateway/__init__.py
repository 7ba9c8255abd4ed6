# SPDX-License-Identifier: Apache-2.0
"""The gateway's side: families of peers that authenticated with us. Never moved, never cloned."""
