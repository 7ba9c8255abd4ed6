# SPDX-License-Identifier: Apache-2.0
"""`python -m vici_mif` is `vici-mif`."""

import sys

from vici_mif.shell.cli import main

sys.exit(main())
