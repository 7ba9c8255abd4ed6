# SPDX-License-Identifier: Apache-2.0
"""Scenarios: what happens to the links, and what must be so then, told once in YAML.

`words` is the list of what can be done, `model` reads a file, `checks` are what can be
expected, `runner` plays it on a stage. `lab` is the stage with real charons.
"""
