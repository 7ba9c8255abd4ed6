# SPDX-License-Identifier: Apache-2.0
"""The nouns. Wish and reality have one type: the plan is their difference.

Everything here is frozen data. Nothing in this room knows VICI, netlink or YAML.
"""

from vici_mif.core.model.address import IPAddress, IPInterface, IPNetwork, Slot
from vici_mif.core.model.connection import ChildTemplate, Connection
from vici_mif.core.model.footprint import Footprint
from vici_mif.core.model.kernel import (
    Clamp,
    GuardWish,
    LinkTable,
    Route,
    Rule,
    Selector,
    Steering,
    XfrmInterface,
)
from vici_mif.core.model.link import Link, Pair, PathKey, PathName
from vici_mif.core.model.message import FromEnvironment, FromFile, Section, Value
from vici_mif.core.model.order import Order, OrderKind
from vici_mif.core.model.probe import Echo, Limit, ProbeWish, Verdict
from vici_mif.core.model.sa import Child, Sa
from vici_mif.core.model.source import (
    Source,
    SourceChange,
    SourceCheck,
    SourceCounts,
    SourceWish,
)

__all__ = [
    "Child",
    "ChildTemplate",
    "Clamp",
    "Connection",
    "Echo",
    "Footprint",
    "FromEnvironment",
    "FromFile",
    "GuardWish",
    "IPAddress",
    "IPInterface",
    "IPNetwork",
    "Limit",
    "Link",
    "LinkTable",
    "Order",
    "OrderKind",
    "Pair",
    "PathKey",
    "PathName",
    "ProbeWish",
    "Route",
    "Rule",
    "Sa",
    "Section",
    "Selector",
    "Slot",
    "Source",
    "SourceChange",
    "SourceCheck",
    "SourceCounts",
    "SourceWish",
    "Steering",
    "Value",
    "Verdict",
    "XfrmInterface",
]
