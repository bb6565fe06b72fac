"""A real registry on loopback: the distribution's `docker-registry`, filled with skopeo."""

import contextlib
import json
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from e2e.oci import FORMAT_KEY, NAME_KEY
from e2e.packages import cache_folder, packages

_START_SECONDS: Final = 20.0
_LISTENING: Final = re.compile(r"listening on ([^\s\",]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody a registry knows; `hash` is the password's bcrypt."""

    name: str
    password: str
    hash: str


ALICE: Final = User(
    name="alice",
    password="wonder:land",  # noqa: S106 - with a colon, which basic authentication must survive
    hash="$2b$04$MlyBpf/5oANSaKkxF/KwsuyPZ0pbxGyf/aQmjlxrmHc0L4d417JX2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a registry serves: over TLS with these files, or to this user only."""

    certificate: Path | None = None
    key: Path | None = None
    user: User | None = None

    def configuration(self, folder: Path) -> str:
        """Return the registry's configuration (YAML takes JSON) for its files in `folder`."""
        http: dict[str, object] = {"addr": "127.0.0.1:0", "secret": "not shared"}
        if self.certificate and self.key:
            http["tls"] = {"certificate": str(self.certificate), "key": str(self.key)}
        document: dict[str, object] = {
            "version": 0.1,
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "data")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if self.user is not None:
            htpasswd = folder / "htpasswd"
            htpasswd.write_text(f"{self.user.name}:{self.user.hash}\n")
            document["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
        return json.dumps(document)


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry. `host` is `address:port`, as an image reference begins.

    `layout` is what it was filled with, if it was.
    """

    host: str
    folder: Path
    layout: Path = Path()
    options: Options = Options()

    def reference(self, name: str) -> str:
        """Return the full reference of the image `name` here."""
        return f"{self.host}/{name}"

    def push(self, layout: Path, name: str, target: str = "") -> None:
        """Push the image `name` of an OCI layout, with every manifest of its index."""
        argv = [
            "skopeo",
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--dest-tls-verify=false",
        ]
        form = named(layout)[name]
        # Without this, skopeo packs layers again as it likes them.
        argv.append("--preserve-digests" if form == "oci" else f"--format={form}")
        if user := self.options.user:
            argv.append(f"--dest-creds={user.name}:{user.password}")
        argv += [f"oci:{layout}:{name}", f"docker://{self.reference(target or name)}"]
        subprocess.run(argv, check=True)

    def push_layout(self, layout: Path) -> None:
        """Push every image of an OCI layout under its own name."""
        for name in named(layout):
            self.push(layout, name)

    def log(self) -> str:
        """Return what the registry has logged, requests included."""
        return (self.folder / "log").read_text()


def mirror(folder: Path, hosts: Iterable[str], registry: Registry) -> None:
    """Send `hosts` to `registry`, which is their upstream, too, by hosts.toml files in `folder`."""
    url = f"http://{registry.host}"
    for host in hosts:
        (folder / host).mkdir(parents=True)
        text = f'server = "{url}"\n\n[host."{url}"]\ncapabilities = ["pull", "resolve"]\n'
        (folder / host / "hosts.toml").write_text(text)


def named(layout: Path) -> dict[str, str]:
    """Return the references an OCI layout knows, in its order, and the format each is pushed in."""
    index = json.loads((layout / "index.json").read_text())
    annotations = [manifest["annotations"] for manifest in index["manifests"]]
    return {each[NAME_KEY]: each[FORMAT_KEY] for each in annotations}


@contextlib.contextmanager
def serving(folder: Path, options: Options | None = None) -> Iterator[Registry]:
    """Run a registry whose files are in `folder` for the block."""
    options = options or Options()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(options.configuration(folder))
    argv = [str(_program()), "serve", str(folder / "config.yml")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found: queue.SimpleQueue[str] = queue.SimpleQueue()
    assert process.stdout is not None
    reader = threading.Thread(target=_follow, args=(process.stdout, folder / "log", found))
    reader.start()
    try:
        host = found.get(timeout=_START_SECONDS)
        if not host:
            raise RuntimeError(f"cannot start the registry: {(folder / 'log').read_text()[-2000:]}")
        yield Registry(host, folder, options=options)
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


@contextlib.contextmanager
def serving_layout(layout: Path, folder: Path) -> Iterator[Registry]:
    """Run a registry that has every image of `layout`; what is pushed to it stays in `folder`."""
    store = cache_folder() / "registry" / layout.name
    if not store.is_dir():
        with serving(folder / "filling") as registry:
            registry.push_layout(layout)
        store.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError, OSError):  # another run was quicker
            shutil.copytree(folder / "filling" / "data", store.with_suffix(f".{folder.name}"))
            store.with_suffix(f".{folder.name}").rename(store)
    shutil.copytree(store, folder / "data")
    with serving(folder) as registry:
        yield replace(registry, layout=layout)


def _program() -> Path:
    installed = shutil.which("docker-registry")
    return Path(installed) if installed else packages().program("docker-registry")


def _follow(stream: IO[str], log: Path, found: "queue.SimpleQueue[str]") -> None:
    """Copy the registry's output to `log`; say where it listens, or "" when it ended first."""
    with log.open("w") as file:
        for line in stream:
            file.write(line)
            file.flush()
            if match := _LISTENING.search(line):
                found.put(match[1])
    found.put("")
