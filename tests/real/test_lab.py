# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what it makes carries real IKE and ESP, and nothing is left of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.pings import came, ping_argv
from tests.real.conftest import MakeLab
from tests.real.rig import captured
from vici_mif.lab import namespaces
from vici_mif.lab.errors import LabError
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.listing import names
from vici_mif.lab.state import root as labs_root
from vici_mif.lab.topology import Auth, Profile, Wish, owner
from vici_mif.lab.wires.impair import DOWN, UP, Impairment

LAB = [sys.executable, "-m", "vici_mif.lab.cli", "lab"]


def ping(lab: Lab, host: str, target: str, *options: str, count: int = 3) -> int:
    """How many of the pings came back."""
    argv = [*ping_argv(count), *options, target]
    return came(lab.host(host).exec(argv, check=False).stdout, count)


def initiate(lab: Lab) -> None:
    lab.charons["client"].swanctl("--initiate", "--child", "net")


def clear_packets(capture: Path, *networks: str) -> int:
    """Packets of those networks that were seen outside ESP."""
    expression = " or ".join(f"net {n}" for n in networks)
    argv = ["tcpdump", "-n", "-r", str(capture), expression]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


def leftovers(name: str) -> list[str]:
    """What there is of a lab: namespaces, files, processes in its namespaces."""
    found = [ns for ns in namespaces.existing() if owner(ns) == name]
    found += [str(p) for p in labs_root().glob(name)]
    for comm in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"/{name}/client/strongswan.conf".encode() in comm.read_bytes():
                found.append(str(comm.parent))
        except OSError:
            continue
    return found


# -- tunnels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", list(Auth))
def test_a_road_warrior_comes_up_with_each_authentication(make_lab: MakeLab, auth: Auth) -> None:
    lab = make_lab(uplinks=2, auth=auth)
    initiate(lab)
    assert ping(lab, "client", "10.100.0.1") == 3
    assert ping(lab, "client", "10.100.0.2") == 3


def test_payload_is_esp_on_the_uplink_and_never_in_clear(make_lab: MakeLab) -> None:
    lab = make_lab(capture=True, keys=True)
    initiate(lab)
    assert ping(lab, "client", "10.100.0.2", count=20) == 20
    lab.stop_captures()
    for uplink in lab.uplinks:
        assert not clear_packets(lab.captures.file("router", uplink), "10.100.0.0/24")
    # both ends know the same keys: the capture can be opened with either
    tables = [lab.keys_directory / h / "ikev2_decryption_table" for h in ("client", "gateway")]
    first, second = (sorted(t.read_text().splitlines()) for t in tables)
    assert first == second
    assert (lab.keys_directory / "client" / "esp_sa").read_text().count("AES-GCM") == 2


def test_a_site_to_site_connection_joins_two_networks(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=2, profile=Profile.SITE, ipv6=True)
    initiate(lab)
    assert ping(lab, "station", "10.2.0.2") == 3
    assert ping(lab, "server", "10.1.0.2") == 3
    assert ping(lab, "station", "fd00:2::2") == 3


@pytest.mark.parametrize("outer", [4, 6])
def test_both_families_go_through_a_tunnel_over_either(make_lab: MakeLab, outer: int) -> None:
    lab = make_lab(uplinks=2, ipv6=True, outer=outer, capture=True)
    initiate(lab)
    assert ping(lab, "client", "10.100.0.2") == 3
    assert ping(lab, "client", "fd00:100::2") == 3
    lab.stop_captures()
    capture = lab.captures.file("router", "eth0")
    assert not clear_packets(capture, "10.100.0.0/24", "fd00:100::/64")
    family = "ip6" if outer == 6 else "ip"
    argv = ["tcpdump", "-n", "-r", str(capture), f"{family} and (esp or udp port 4500)"]
    assert len(subprocess.run(argv, capture_output=True, check=True).stdout.splitlines()) >= 12


def test_a_full_tunnel_reaches_the_world_through_the_gateway(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=2, full=True, capture=True)
    initiate(lab)
    assert ping(lab, "client", "192.0.2.1") == 3
    lab.stop_captures()
    assert not clear_packets(lab.captures.file("router", "eth0"), "192.0.2.1/32")
    assert clear_packets(lab.captures.file("router", "gw0"), "192.0.2.1/32") >= 6


def test_a_site_sends_everything_away_and_keeps_its_lan(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=2, profile=Profile.SITE, full=True, ipv6=True)
    initiate(lab)
    for target in ("192.0.2.1", "2001:db8:ffff::1", "10.2.0.2", "10.1.0.1"):
        assert ping(lab, "station", target) == 3
    assert ping(lab, "client", "10.1.0.2") == 3


def test_stock_charons_take_the_same_files(make_lab: MakeLab, stock_charon: Path) -> None:
    lab = make_lab(uplinks=2, client_charon=stock_charon)
    initiate(lab)
    assert ping(lab, "client", "10.100.0.1") == 3


# -- hosts -----------------------------------------------------------------------------------


def test_hosts_look_as_a_dhcp_client_leaves_them(lab: Lab) -> None:
    routes = json.loads(lab.client.exec(["ip", "-json", "route", "show", "default"]).stdout)
    assert [(r["dev"], r["metric"], r["protocol"]) for r in routes] == [
        ("eth0", 100, "dhcp"),
        ("wlan0", 600, "dhcp"),
        ("wwan0", 700, "dhcp"),
    ]
    assert all(r["prefsrc"] for r in routes)


def test_a_host_has_a_run_directory_of_its_own(lab: Lab) -> None:
    lab.client.exec(["sh", "-c", "echo mine > /run/vici-mif-test"])
    assert (lab.client.run_directory / "vici-mif-test").read_text() == "mine\n"
    assert not Path("/run/vici-mif-test").exists()
    assert "vici-mif-test" not in lab.gateway.exec(["ls", "/run"]).stdout
    # and yet sees the lab's own files where they are
    assert lab.client.exec(["cat", str(lab.directory / "state.json")]).stdout


def test_tools_reach_charon_from_outside(lab: Lab) -> None:
    swanctl = lab.charons["client"].installation.prefix / "sbin" / "swanctl"
    uri = f"unix://{lab.client.vici_socket}"
    done = subprocess.run(
        [swanctl, "--list-conns", "--uri", uri], capture_output=True, text=True, check=True
    )
    assert "hq: IKEv2" in done.stdout


def test_the_operators_file_holds_nothing_of_ours(lab: Lab) -> None:
    text = (lab.client.swanctl_dir / "swanctl.conf").read_text()
    assert "hq {" in text
    assert "clone" not in text
    assert "clone_ike_sa" in lab.client.strongswan_conf.read_text()


def test_status_names_what_runs(lab: Lab) -> None:
    argv = [*LAB, "status", "--name", lab.name, "--json"]
    said = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert said["ready"] is True
    assert said["data_plane"] in ("libipsec", "netlink")
    assert said["charons"]["client"]["pid"] == lab.charons["client"].process.pid


def test_exec_hands_back_the_exit_status(lab: Lab) -> None:
    argv = [*LAB, "exec", "--name", lab.name, "gateway", "--", "sh", "-c", "exit 7"]
    assert subprocess.run(argv, check=False).returncode == 7


def test_unknown_hosts_and_interfaces_are_named(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"hosts: .*client"):
        lab.host("laptop")
    with pytest.raises(LabError, match=r"eth0, wlan0, wwan0"):
        lab.link_down("eth7")


# -- links -----------------------------------------------------------------------------------


def test_a_link_that_went_down_comes_back_as_it_was(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=2, ipv6=True, start_charons=False)

    def look() -> list[str]:
        said = [lab.client.exec(["ip", v, "route"]).stdout for v in ("-4", "-6")]
        return sorted("".join(said).splitlines())

    # the route of a link-local address comes a moment after the link
    eventually(lambda: sum(route.startswith("fe80::/64 ") for route in look()) == 2)
    before = look()
    lab.link_down("eth0")
    assert not any("eth0" in route for route in look())
    lab.link_up("eth0")
    eventually(lambda: look() == before)


def test_a_cut_is_silent_and_can_have_one_direction(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=2, remotes=2, capture=True, start_charons=False)
    from_eth0 = ("-I", "192.168.1.100")
    lab.cut("eth0")
    assert ping(lab, "client", "203.0.113.1", *from_eth0, count=1) == 0
    assert "state UP" in lab.client.exec(["ip", "link", "show", "eth0"]).stdout
    lab.uncut("eth0")
    lab.uncut("eth0")
    assert ping(lab, "client", "203.0.113.1", *from_eth0) == 3
    lab.cut("eth0", remote=1)
    assert ping(lab, "client", "203.0.113.1", *from_eth0) == 3
    assert ping(lab, "client", "198.51.100.1", *from_eth0, count=1) == 0
    lab.uncut("eth0")
    for direction, arrived in ((UP, False), (DOWN, True)):
        lab.cut("eth0", directions=(direction,))
        target = ["-s", "777" if direction == UP else "888"]
        assert ping(lab, "client", "203.0.113.1", *from_eth0, *target, count=1) == 0
        lab.captures.flush()
        assert bool(_icmp_requests(lab, int(target[1]) + 8)) == arrived
        lab.uncut("eth0")


def _icmp_requests(lab: Lab, length: int) -> int:
    """Of this length, on their way to the gateway."""
    seen = captured(lab, "gw0", "icmp[icmptype] == icmp-echo")
    return sum(f"length {length}" in packet for packet in seen)


_SINK = """
import socket, sys
with socket.create_server(("", 5001)) as server:
    print("ready", flush=True)
    peer = server.accept()[0]
    while peer.recv(65536): pass
    peer.sendall(b"x")
"""
_SOURCE = """
import socket, sys, time
begun = time.monotonic()
with socket.create_connection((sys.argv[1], 5001)) as peer:
    peer.sendall(bytes(200_000))
    peer.shutdown(socket.SHUT_WR)
    peer.recv(1)
print(time.monotonic() - begun)
"""


def transfer_time(lab: Lab, sender: str, receiver: str, address: str) -> float:
    """Seconds that 200 kB of TCP take from one host to another."""
    argv = [sys.executable, "-c", _SINK]
    with lab.host(receiver).spawn("sink", argv, stdout=subprocess.PIPE) as sink:
        sink.stdout.readline()
        return float(lab.host(sender).exec([sys.executable, "-c", _SOURCE, address]).stdout)


@pytest.mark.parametrize(
    ("sender", "receiver", "address"),
    [("client", "gateway", "203.0.113.1"), ("gateway", "client", "192.168.1.100")],
)
def test_a_rate_holds_in_either_direction(
    make_lab: MakeLab, sender: str, receiver: str, address: str
) -> None:
    lab = make_lab(uplinks=1, start_charons=False)
    # 1.6 Mbit less the burst of 0.26
    lab.impair("eth0", Impairment(rate_bit=1_000_000))
    assert transfer_time(lab, sender, receiver, address) > 1.2
    lab.impair("eth0", Impairment())
    assert min(transfer_time(lab, sender, receiver, address) for _ in range(3)) < 1.0


def test_delay_is_one_way_and_exact(make_lab: MakeLab) -> None:
    """By netem or by a line of our own; what clears it clears it all."""
    lab = make_lab(uplinks=2, start_charons=False)
    for delay_ms in (20, 100):
        lab.impair("eth0", Impairment(delay_s=delay_ms / 1000))
        fastest, usual = round_trip(lab)
        assert 2 * delay_ms <= fastest < 2 * delay_ms + 5
        assert usual < 2 * delay_ms + 15

    lab.impair("eth0", Impairment())

    assert round_trip(lab)[0] < 5


def round_trip(lab: Lab) -> tuple[float, float]:
    """The fastest and the mean of twenty, in milliseconds."""
    ping = ["ping", "-n", "-q", "-c", "20", "-i", "0.02", "203.0.113.1"]
    said = lab.client.exec(ping).stdout
    found = re.search(r"rtt [^=]*= ([\d.]+)/([\d.]+)/", said)
    assert found is not None, said
    return float(found[1]), float(found[2])


def test_loss_and_a_cut_on_a_delayed_uplink(make_lab: MakeLab) -> None:
    """A tenth is lost where a tenth is asked for, and everything behind a cut."""
    lab = make_lab(uplinks=1, start_charons=False)
    lab.impair("eth0", Impairment(delay_s=0.005, loss_percent=30))
    ping = ["ping", "-n", "-q", "-c", "200", "-i", "0.005", "-W", "1", "203.0.113.1"]
    found = re.search(r"(\d+) received", lab.client.exec(ping, check=False).stdout)
    # both ways: 49 % come back, give or take five standard deviations
    assert found is not None
    assert 60 <= int(found[1]) <= 136

    lab.cut("eth0")
    assert lab.client.exec([*ping[:4], "3", *ping[5:]], check=False).returncode == 1


# -- charons ---------------------------------------------------------------------------------


def test_loading_unchanged_files_again_changes_no_id_and_no_spi(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=2)
    initiate(lab)
    client = lab.charons["client"]
    before = _identity(client.swanctl("--list-sas", "--raw"))
    assert before
    client.load()
    lab.charons["gateway"].load()
    assert _identity(client.swanctl("--list-sas", "--raw")) == before
    assert ping(lab, "client", "10.100.0.1") == 3


def _identity(raw: str) -> list[str]:
    return re.findall(r"(?:uniqueid|spi-in|spi-out|initiator-spi)=(\w+)", raw)


def test_a_charon_killed_starts_again(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=1)
    lab.charons["client"].kill()
    assert lab.charons["client"].process is None
    lab.charons["client"].start()
    initiate(lab)
    assert ping(lab, "client", "10.100.0.1") == 3


def test_kernel_esp_is_refused_where_there_is_none(make_lab: MakeLab) -> None:
    if make_lab(uplinks=1, start_charons=False).state.data_plane == "netlink":
        pytest.skip("this kernel has ESP")
    with pytest.raises(LabError, match="no ESP"):
        make_lab(uplinks=1, data_plane="netlink")


# -- side by side, and afterwards ------------------------------------------------------------


def test_labs_live_side_by_side(make_lab: MakeLab) -> None:
    one, two = make_lab(uplinks=2), make_lab(uplinks=2)
    initiate(one)
    initiate(two)
    one.cut("eth0")
    assert ping(two, "client", "10.100.0.1") == 3
    one.down()
    assert ping(two, "client", "10.100.0.1") == 3
    assert not leftovers(one.name)


def test_the_same_name_twice_is_refused_and_hurts_nobody(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=1)
    prefix = lab.charons["client"].installation.prefix
    with pytest.raises(LabError, match="is there already"):
        Lab.up(Wish(name=lab.name), Setup(prefix, prefix))
    initiate(lab)
    assert ping(lab, "client", "10.100.0.1") == 3


def test_of_two_makers_of_one_name_one_succeeds(root: None, patched_charon: Path) -> None:
    name = f"r{os.getpid()}"
    argv = [*LAB, "up", "--name", name, "--uplinks", "1", "--charon", str(patched_charon)]
    makers = [subprocess.Popen(argv, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        assert sorted(maker.wait() for maker in makers) == [0, 1]
        assert names()[name] == "up"
        assert ping(Lab.find(name), "client", "203.0.113.1") == 3
    finally:
        Lab.find(name).down()
    assert not leftovers(name)


def test_down_ends_what_was_started_on_the_hosts(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=1, start_charons=False)
    spawned = lab.client.spawn("sleeper", ["sleep", "1000"])
    # one that nobody wrote down: it left its parent and its session
    lab.client.exec(["sh", "-c", "setsid sleep 1001 >/dev/null 2>&1 &"])
    inode = namespaces.inode(lab.client.namespace)
    # both beget others while they start
    eventually(lambda: _members(inode) == ["sleep 1000", "sleep 1001"])
    lab.down()
    assert spawned.returncode is not None
    assert not _members(inode)
    assert not leftovers(lab.name)


def _members(inode: int | None) -> list[str]:
    """The command lines of what runs in a network namespace."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "ns/net").stat().st_ino == inode:
                found.append((entry / "cmdline").read_text().rstrip("\0").replace("\0", " "))
        except OSError:
            continue
    return sorted(found)


@pytest.mark.parametrize("moment", ["directory", "namespaces", "charons", "up"])
def test_a_maker_that_is_killed_leaves_nothing(
    root: None, patched_charon: Path, moment: str
) -> None:
    name = f"k{os.getpid()}-{moment}"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from vici_mif.lab.lab import Lab, Setup, Wish\n"
        f"p = Path({str(patched_charon)!r})\n"
        f"Lab.up(Wish(name={name!r}), Setup(p, p, capture=True), keep=False)\n"
        "time.sleep(600)\n"
    )
    maker = subprocess.Popen([sys.executable, "-c", code])
    directory = labs_root() / name
    signs = {
        "directory": lambda: (directory / "state.json").exists(),
        "namespaces": lambda: len([n for n in namespaces.existing() if owner(n) == name]) > 1,
        "charons": lambda: (directory / "gateway" / "run" / "charon.vici").exists(),
        "up": lambda: names().get(name) == "up",
    }
    eventually(signs[moment], within=60)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    eventually(lambda: not leftovers(name), within=60)


def test_down_removes_a_lab_whose_record_is_lost(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=1)
    (lab.directory / "state.json").write_text("{")
    assert names()[lab.name] == "broken"
    argv = [*LAB, "down", "--name", lab.name]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
    assert not leftovers(lab.name)


def test_a_process_id_that_was_given_to_another_is_left_alone(make_lab: MakeLab) -> None:
    lab = make_lab(uplinks=1, start_charons=False)
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        path = lab.directory / "state.json"
        tree = json.loads(path.read_text())
        tree["processes"] = [{"role": "charon@client", "pid": bystander.pid, "start": 1}]
        path.write_text(json.dumps(tree))
        lab.down()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
