# SPDX-License-Identifier: Apache-2.0
"""A Debian kernel with ESP under qemu, on this machine's own files, for one command.

The root is this machine's, read through virtiofs and overlaid with memory: the guest
may write anywhere and nothing of it stays, but for the one directory that is shared.
qemu translates (TCG), so processors inside are 12 to 20 times slower.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vici_mif.build import initramfs, kernel
from vici_mif.build.cache import Cache
from vici_mif.build.errors import BuildError
from vici_mif.build.kernel import Kernel

# Debian 12 has the one written in C, Debian 13 the one in Rust in a package of its own.
VIRTIOFSD_C = Path("/usr/lib/qemu/virtiofsd")
VIRTIOFSD_RUST = Path("/usr/libexec/virtiofsd")
MODULES = ["virtio_pci", "virtiofs", "overlay"]
PASSED_ON = (
    "HOME",
    "LANG",
    "LC_ALL",
    "PATH",
    "PYTHONPATH",
    "USER",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
)

# cmpxchg16b is broken in qemu 7.2's translator: 6.12 panics in every third boot with it.
MACHINE = "-accel tcg,thread=multi -cpu max,-cx16 -M q35,memory-backend=mem -nodefaults"
APPEND = "console=ttyS0 panic=-1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=1"

INIT = """\
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
if mount -t virtiofs -o ro root /lower; then
    mount -t tmpfs -o size=75% upper /upper
    mkdir /upper/files /upper/work
    cat /stage2 > /upper/files/.vici-mif-guest
    mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /root
    umount /proc
    umount /dev
    exec switch_root /root /bin/sh /.vici-mif-guest
fi
echo "the root directory cannot be mounted"
echo o > /proc/sysrq-trigger
while :; do sleep 1; done
"""

# After the power-off is asked for, nothing may be executed: the root is going away.
# Without /proc it cannot even be asked for; the kernel panics when process 1 exits.
STAGE2 = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc || exit 1
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
[ -e /dev/stdin ] || ln -s /proc/self/fd/0 /dev/stdin
[ -e /dev/stdout ] || ln -s /proc/self/fd/1 /dev/stdout
[ -e /dev/stderr ] || ln -s /proc/self/fd/2 /dev/stderr
mkdir -p /run/lock /run/guest
mount -t virtiofs control /run/guest
{share}
mkdir -p /lib/modules
[ -e /lib/modules/{version} ] || ln -s {modules} /lib/modules/{version}
command -v modprobe > /proc/sys/kernel/modprobe
modprobe tun
hostname guest
ip link set lo up
stty -F /dev/ttyS1 raw
{environment}
cd {directory}
setsid -w sh -c {command} </dev/null >/dev/ttyS1 2>&1
echo $? > /run/guest/status
sync
echo o > /proc/sysrq-trigger
while :; do :; done
"""


@dataclass(frozen=True)
class Guest:
    """One boot: what to run, and what the machine looks like."""

    command: str
    directory: Path
    share: Path | None = None
    memory: str = "1G"
    processors: int = 2
    timeout: float = 600.0


def run(guest: Guest, cache: Cache | None = None, refresh: bool = False) -> int:
    """Boot, run, power off; the status is the command's, 124 if it took too long."""
    require_tools()
    found = kernel.find(cache or Cache(), refresh)
    with tempfile.TemporaryDirectory(prefix="vici-mif-guest-") as name:
        work = Path(name)
        (work / "control").mkdir()
        (work / "initrd").write_bytes(_initrd(guest, found))
        with contextlib.ExitStack() as stack:
            stack.enter_context(_terminable())
            shares = {"root": (Path("/"), "always"), "control": (work / "control", "none")}
            if guest.share:
                shares["share"] = (guest.share.resolve(), "none")
            for tag, (source, cached) in shares.items():
                stack.enter_context(_virtiofsd(work / f"{tag}.socket", source, cached))
            return _boot(guest, _qemu(guest, found, work, list(shares)), work)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends us as ^C does, so that qemu and virtiofsd are ended with us."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a signal handler can be set nowhere else
        return

    def leave(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_tools() -> None:
    """Everything the runner calls; what is missing is named with its package."""
    if os.geteuid() != 0:
        raise BuildError("the guest reads this machine's files as they are: run it as root")
    needs = {
        "qemu-system-x86": shutil.which("qemu-system-x86_64"),
        "busybox-static": _static_busybox(),
        "kmod": shutil.which("depmod"),
        "virtiofsd or qemu-system-common": VIRTIOFSD_C.exists() or VIRTIOFSD_RUST.exists(),
    }
    missing = [package for package, there in needs.items() if not there]
    if missing:
        wanted = " ".join(missing)
        raise BuildError(f"the guest needs packages that are missing: {wanted}")


def _static_busybox() -> Path | None:
    """busybox as Debian's busybox-static has it: a dynamic one finds no libraries there."""
    found = shutil.which("busybox")
    if not found:
        return None
    path = Path(found)
    return None if b"/ld-linux" in path.read_bytes()[:4096] else path


def _initrd(guest: Guest, found: Kernel) -> bytes:
    busybox = _static_busybox()
    if busybox is None:
        raise BuildError("no static busybox; install busybox-static")
    scripts = {"init": INIT, "stage2": _stage2(guest, found)}
    return initramfs.build(busybox, initramfs.Modules(found.modules), MODULES, scripts)


def _stage2(guest: Guest, found: Kernel) -> str:
    quoted = shlex.quote(str(guest.share.resolve())) if guest.share else ""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return STAGE2.format(
        version=found.version,
        modules=shlex.quote(str(found.modules)),
        share=f"mkdir -p {quoted}; mount -t virtiofs share {quoted}" if quoted else "",
        environment="\n".join(f"export {k}={shlex.quote(v)}" for k, v in passed.items()),
        directory=shlex.quote(str(guest.directory)),
        command=shlex.quote(guest.command),
    )


@contextlib.contextmanager
def _virtiofsd(socket: Path, source: Path, cached: str) -> Iterator[None]:
    """One directory, served to the guest on a socket."""
    if VIRTIOFSD_RUST.exists():  # its package has a link at the other's place
        cached = "never" if cached == "none" else cached
        # overlayfs refuses what is announced as a mount point ("Object is remote")
        options = [f"--shared-dir={source}", "--sandbox=chroot", "--no-announce-submounts"]
        command = [str(VIRTIOFSD_RUST), f"--socket-path={socket}", f"--cache={cached}", *options]
    else:
        options = ["-o", f"source={source}", "-o", "sandbox=chroot", "-o", f"cache={cached}"]
        command = [str(VIRTIOFSD_C), f"--socket-path={socket}", "-o", "no_posix_lock", *options]
    with socket.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(socket, process)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(socket: Path, process: "subprocess.Popen[bytes]", seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > until:
            log = socket.with_suffix(".log").read_text(errors="replace").strip()
            raise BuildError(f"virtiofsd does not start: {log or 'it says nothing'}")
        time.sleep(0.02)


def _qemu(guest: Guest, found: Kernel, work: Path, tags: list[str]) -> list[str]:
    memory = f"memory-backend-memfd,id=mem,size={guest.memory},share=on"
    command = ["qemu-system-x86_64", *MACHINE.split(), "-no-user-config", "-display", "none"]
    command += ["-no-reboot", "-m", guest.memory, "-smp", str(guest.processors)]
    command += ["-kernel", str(found.image), "-initrd", str(work / "initrd")]
    command += ["-append", f"{APPEND} quiet loglevel=4", "-object", memory]
    command += ["-serial", f"file:{work / 'console'}", "-serial", "stdio"]
    for tag in tags:
        command += ["-chardev", f"socket,id={tag},path={work / f'{tag}.socket'}"]
        command += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=1024"]
    return command


def _boot(guest: Guest, command: list[str], work: Path) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(guest.timeout)
    except subprocess.TimeoutExpired:
        print(f"guest: no end after {guest.timeout:.0f} s, powered off", file=sys.stderr)
        print(_console(work), file=sys.stderr)
        return 124
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    status = work / "control" / "status"
    if not status.exists():
        raise BuildError(f"the guest ended without a result. {_console(work)}")
    return int(status.read_text())


def _console(work: Path) -> str:
    """What the kernel said last."""
    path = work / "console"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "\n".join(["Its console:", *(lines[-30:] or ["(nothing)"])])
