"""Real S3 servers for the tests: each keeps its objects on disk and survives a kill."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRET_KEY = "canary-secret-key-0123456789"
START_SECONDS = 60.0
"""Upper limit of every wait; the servers are ready in seconds."""


class S3Server:
    """A server of one or more processes on 127.0.0.1, with objects below `folder`."""

    name = ""
    access_key = "canary-access-key"
    remedy = ""
    """How to install it."""
    certificate: Path | None = None
    """Set if the server uses TLS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._processes = self.launch()
        if not wait_until(self.is_ready):
            self.stop(signal.SIGKILL)
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{type(self).__name__} does not start:\n{log}")

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Stop all processes and wait for them."""
        for process in self._processes:
            process.send_signal(signal_number)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []

    @staticmethod
    def find() -> Path | None:
        """Return the path of the installation, or None."""
        raise NotImplementedError

    def launch(self) -> list[subprocess.Popen[bytes]]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def run(self, command: list[str], **environment: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], **environment},
            )


class VersityServer(S3Server):
    """versitygw over a plain directory."""

    name = "versitygw"
    remedy = "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0"
    wrapper: tuple[str, ...] = ()
    """Command before that of the server."""

    @staticmethod
    def find() -> Path | None:
        go = shutil.which("go")
        folders = [os.environ.get("SSD_VERSITYGW", "")]
        if go:
            found = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True)
            folders.append(f"{found.stdout.strip()}/bin/versitygw")
        folders.append(shutil.which("versitygw") or "")
        return next((Path(name) for name in folders if name and Path(name).is_file()), None)

    def launch(self) -> list[subprocess.Popen[bytes]]:
        objects = self.folder / "objects"
        objects.mkdir(exist_ok=True)
        address = f"127.0.0.1:{self.port}"
        options = ["--port", address, "--health", "/health", "--keep-alive", "--quiet"]
        options += ["--virtual-domain", "s3.test"]
        if self.certificate:
            options += ["--cert", str(self.certificate), "--key", str(self.folder / "key.pem")]
        return [
            self.run(
                [*self.wrapper, str(self.find()), *options, "posix", str(objects)],
                ROOT_ACCESS_KEY=self.access_key,
                ROOT_SECRET_KEY=SECRET_KEY,
            )
        ]

    def is_ready(self) -> bool:
        return answers(f"{self.endpoint}/health", self.certificate)


class SwiftServer(S3Server):
    """OpenStack Swift with its S3 interface: account, container, object and proxy server."""

    name = "swift"
    access_key = "canary:user"
    remedy = "make setup-swift"

    @staticmethod
    def find() -> Path | None:
        folder = Path(os.environ.get("SSD_SWIFT") or ROOT / ".venv-swift" / "bin")
        return folder if (folder / "swift-proxy-server").is_file() else None

    def launch(self) -> list[subprocess.Popen[bytes]]:
        if not (self.folder / "etc").is_dir():
            self._configure()
        started = [self._launch(name) for name in self._ports]
        # Without the other servers, the proxy answers that buckets do not exist.
        wait_until(lambda: all(is_listening(port) for port in self._ports.values()))
        return [*started, self._launch("proxy")]

    def is_ready(self) -> bool:
        return answers(f"{self.endpoint}/healthcheck")

    def _launch(self, name: str) -> "subprocess.Popen[bytes]":
        etc = self.folder / "etc"
        command = [f"{self.find()}/swift-{name}-server", str(etc / f"{name}.conf")]
        return self.run(command, SWIFT_CONF_FILE=str(etc / "swift.conf"))

    def _configure(self) -> None:
        etc = self.folder / "etc"
        for folder in (etc, self.folder / "devices" / "d1", self.folder / "cache"):
            folder.mkdir(parents=True)
        self._ports = {name: free_port() for name in ("account", "container", "object")}
        (etc / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix=x\n[storage-policy:0]\nname=gold\ndefault=yes\n"
        )
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        values = {"D": self.folder, "user": user.stdout.strip(), "port": self.port}
        for name, port in self._ports.items():
            text = _STORAGE_CONF.format(name=name, storage_port=port, **values)
            (etc / f"{name}.conf").write_text(text)
        account = self.access_key.replace(":", "_")
        text = _PROXY_CONF.format(account=account, secret=SECRET_KEY, **values)
        (etc / "proxy.conf").write_text(text)
        self._build_rings()

    def _build_rings(self) -> None:
        ports = [f"{name}={port}" for name, port in self._ports.items()]
        command = [f"{self.find()}/python", "-c", _BUILD_RINGS, *ports]
        subprocess.run(command, cwd=self.folder / "etc", check=True)


class RcloneServer(S3Server):
    """rclone over a plain directory: no conditional writes, and metadata only in memory."""

    name = "rclone"
    remedy = "make setup-swift"

    @staticmethod
    def find() -> Path | None:
        program = Path(os.environ.get("SSD_RCLONE") or ROOT / ".venv-swift" / "bin" / "rclone")
        return program if program.is_file() else None

    def launch(self) -> list[subprocess.Popen[bytes]]:
        objects = self.folder / "objects"
        objects.mkdir(exist_ok=True)
        options = ["--addr", f"127.0.0.1:{self.port}", "--vfs-cache-mode", "off"]
        options += ["--config", str(self.folder / "config")]
        options += ["--auth-key", f"{self.access_key},{SECRET_KEY}"]
        environment = {"HOME": str(self.folder)}
        return [self.run([str(self.find()), "serve", "s3", *options, str(objects)], **environment)]

    def is_ready(self) -> bool:
        return is_listening(self.port)


_BUILD_RINGS = """
import sys
from swift.common.ring import RingBuilder
for argument in sys.argv[1:]:
    name, port = argument.split("=")
    builder = RingBuilder(4, 1, 0)  # 16 partitions, one replica
    builder.add_dev(dict(
        id=0, region=1, zone=1, weight=1, ip="127.0.0.1", port=int(port), device="d1",
        replication_ip="127.0.0.1", replication_port=int(port),
    ))
    builder.rebalance()
    builder.get_ring().save(f"{name}.ring.gz")
"""

_STORAGE_CONF = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {storage_port}
devices = {D}/devices
mount_check = false
swift_dir = {D}/etc
user = {user}
workers = 0
disable_fallocate = true
recon_cache_path = {D}/cache
log_level = ERROR
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

_PROXY_CONF = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {D}/etc
user = {user}
workers = 0
log_level = ERROR
[pipeline:main]
pipeline = catch_errors healthcheck proxy_logging cache s3api tempauth bulk slo dlo symlink
    versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
min_segment_size = 5242880
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user_{account} = {secret} .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:cache]
use = egg:swift#memcache
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("catch_errors", "healthcheck", "proxy_logging", "bulk", "slo", "dlo", "symlink")
)


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, and return whether it became true."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str, certificate: Path | None = None) -> bool:
    context = ssl.create_default_context(cafile=certificate)
    no_proxy = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
