# SPDX-License-Identifier: Apache-2.0
"""One IKEv2 authentication, one IPsec tunnel per path."""

__version__ = "0.1.0"
