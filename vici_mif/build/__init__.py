# SPDX-License-Identifier: Apache-2.0
"""Getting charon: its source, our patch series, the build, strongSwan's suites, a guest kernel."""
