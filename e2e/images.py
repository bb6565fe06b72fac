"""The images of the end-to-end tests: small real systems made of the distribution's packages.

`layout()` gives an OCI layout that holds them all, made once for each set of packages and kept in
the cache. References have no registry host: `Registry.push_layout` sends them wherever it serves.
"""

import fcntl
import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from e2e.oci import Content, Image, Layer, Tree
from e2e.packages import Packages, cache_folder, packages

BUSYBOX: Final = "test/busybox:1"
WEB: Final = "test/web:1"
NGINX: Final = "test/nginx:1"
REDIS: Final = "test/redis:1"
PAUSE: Final = "test/pause:1"
VOLUME: Final = "test/volume:1"
LAYERED: Final = "test/layered"
LAYERED_TAGS: Final = ("gzip", "zstd", "plain", "docker")

USERS: Final = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
www-data:x:33:33:www-data:/:/bin/false
user:x:1000:1000:user:/home/user:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
"""
GROUPS: Final = """\
root:x:0:
daemon:x:1:
www-data:x:33:
users:x:100:
user:x:1000:
extra:x:50000:user
nogroup:x:65534:
"""
NGINX_CONF: Final = """\
user nobody nogroup;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
    access_log off;
    server {
        listen 80;
        location / { default_type text/plain; return 200 "nginx\\n"; }
    }
}
"""
SERVE: Final = '''\
"""Answers each request with the host name, logs it, and leaves on SIGTERM with code 0."""
import http.server
import os
import signal
import socket
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{socket.gethostname()} {self.path}\\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print("request", self.client_address[0], self.path, flush=True)


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and so IPv4 as well

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks a name server who we are


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
port = int(os.environ.get("PORT", "8080"))
with Server(("::", port), Handler) as server:
    print("listening", port, flush=True)
    server.serve_forever()
'''


def system_tree(base: Packages) -> Tree:
    """Return a small system: busybox with every applet a hard link, users, and the usual folders.

    Hard links keep `ls` a file of its own: a masked path may cover one applet and leave the others.
    """
    tree = Tree()
    tree.program("bin/busybox", base, "busybox")
    for applet in base.run(base.program("busybox"), "--list").stdout.split():
        if applet != "busybox":
            tree.hard_link(f"bin/{applet}", "bin/busybox")
    tree.file("etc/passwd", USERS)
    tree.file("etc/group", GROUPS)
    tree.folder("tmp", 0o1777)
    tree.folder("root", 0o700)
    for name in ("dev", "home/user", "mnt", "proc", "run", "sys", "var"):
        tree.folder(name)
    tree.symlink("var/run", "../run")
    return tree


def nginx_layer(base: Packages, conf: str) -> Layer:
    """Pack nginx, the folders it writes to, and its configuration."""
    tree = Tree()
    tree.program("usr/sbin/nginx", base, "nginx")
    tree.folder("var/lib/nginx")
    tree.folder("var/log/nginx")
    tree.file("etc/nginx/nginx.conf", conf)
    return Layer.of(tree)


def pause_layer(base: Packages) -> Layer:
    """Pack what holds a pod's namespaces where the runtime wants a container for that."""
    tree = Tree()
    tree.program("pause", base, "catatonit")
    return Layer.of(tree)


def redis_layer(base: Packages) -> Layer:
    """Pack the redis server and its client."""
    tree = Tree()
    tree.program("usr/bin/redis-server", base, "redis-server")
    tree.program("usr/bin/redis-cli", base, "redis-cli")
    return Layer.of(tree)


def python_layer(base: Packages) -> Layer:
    """Pack Python with its standard library."""
    tree = Tree()
    tree.program("usr/bin/python3", base, "python3")
    (library,) = (path.parent for path in base.root.glob("usr/lib/python3.*/socketserver.py"))
    for file in sorted(library.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            tree.file(
                str(file.relative_to(base.root)), file.read_bytes(), file.stat().st_mode & 0o777
            )
        if file.name.endswith(".so"):
            tree.libraries(base, file)
    return Layer.of(tree)


def volume_trees() -> Iterator[Tree]:
    """Yield two layers of data and of links that lead out, for whoever mounts an image."""
    data = Tree()
    data.file("data/file", "of the image\n")
    data.file("data/run", "#!/bin/sh\necho ran\n", 0o755)
    data.file("etc/canary", "of the image\n")
    data.symlink("data/absolute", "/etc")
    data.symlink("data/dotted", "../../../../../../../../etc")
    data.symlink("data/magic", "/proc/self/root")
    data.symlink("data/nowhere", "/nowhere")
    data.symlink("data/loop", "loop")
    data.add("data/pipe", tarfile.FIFOTYPE)
    owned = data.file("data/owned", "of somebody\n", 0o600)
    owned.uid, owned.gid = 1000, 50000
    yield data

    more = Tree()
    more.file("data/second", "of the second layer\n")
    yield more


def layered_trees() -> Iterator[Tree]:
    """Yield layers that add, change, delete and replace, each in the ways that tar has for it."""
    first = Tree()
    first.file("data/kept", "kept\n")
    first.file("data/changed", "before\n")
    first.file("data/deleted", "deleted\n")
    first.file("data/linked", "linked\n")
    first.file("data/opaque/old", "old\n")
    first.file("data/replaced/file", "a folder becomes a file\n")
    first.file("data/setuid", "setuid\n", 0o4755)
    first.folder("data/sticky", 0o1777)
    first.symlink("data/link", "kept")
    first.file("data/" + "long-name-" * 20, "a name beyond what plain tar holds\n")
    owned = first.file("data/owned", "owned\n", 0o640)
    owned.uid, owned.gid, owned.mtime = 1000, 50000, 1_000_000_000
    tagged = first.file("data/tagged", "tagged\n")
    tagged.pax_headers = {"SCHILY.xattr.user.color": "blue"}
    yield first

    second = Tree()
    second.file("data/changed", "after\n")
    second.file("data/.wh.deleted", "")
    second.hard_link("data/second-name", "data/linked")  # its target lies in the layer below
    second.file("data/opaque/.wh..wh..opq", "")
    second.file("data/opaque/new", "new\n")
    yield second

    third = Tree()
    third.file("data/.wh.replaced", "")
    third.file("data/added/deep/down/file", "deep\n")
    yield third

    fourth = Tree()
    fourth.file("data/replaced", "a file now\n")
    yield fourth


def layered_images(system: Layer) -> Iterator[Image]:
    """Yield images of one content in every packing."""
    for tag in LAYERED_TAGS:
        compression = {"plain": "", "docker": "gzip"}.get(tag, tag)
        layers = [Layer.of(tree, compression) for tree in layered_trees()]
        yield Image(
            references=[f"{LAYERED}:{tag}"],
            layers=[system, *layers],
            docker=tag == "docker",
            # skopeo marks zstd in an index, and then it is no longer the one that was to be sent.
            indexed=tag != "zstd",
        )


def images(base: Packages) -> Iterator[Image]:
    """Make every image."""
    system = Layer.of(system_tree(base))
    yield Image(references=[BUSYBOX, "test/busybox:same"], layers=[system])
    web = Layer.of_file("srv/serve.py", SERVE)
    yield Image(
        references=[WEB],
        layers=[system, python_layer(base), web],
        command=["python3", "/srv/serve.py"],
        config={"ExposedPorts": {"8080/tcp": {}}, "WorkingDir": "/srv"},
    )
    yield Image(
        references=[NGINX],
        layers=[system, nginx_layer(base, NGINX_CONF)],
        command=["-g", "daemon off;"],
        config={"Entrypoint": ["nginx", "-e", "stderr"], "StopSignal": "SIGQUIT"},
        indexed=False,
        docker=True,
    )
    yield Image(
        references=[REDIS],
        layers=[system, redis_layer(base)],
        command=["redis-server", "--save", "", "--protected-mode", "no"],
    )
    yield Image(references=[PAUSE], layers=[pause_layer(base)], command=["/pause", "-P"])
    for name, user in {"uid": "1000", "name": "user", "uid-group": "1003:users"}.items():
        yield Image(references=[f"test/user-{name}:1"], layers=[system], user=user)
    data = [Layer.of(tree) for tree in volume_trees()]
    declared: dict[str, object] = {"Volumes": {"/data": {}}}
    yield Image(references=[VOLUME], layers=[system, *data], config=declared)
    yield from layered_images(system)


def layout() -> Path:
    """Return the folder of an OCI layout with every image, making it where it is missing."""
    base = packages()
    sources = (Path(__file__), Path(__file__).with_name("oci.py"))
    key = hashlib.sha256(base.versions.encode())
    for source in sources:
        key.update(source.read_bytes())
    return cached_layout(cache_folder() / "images" / key.hexdigest()[:16], lambda: images(base))


def cached_layout(folder: Path, make: Callable[[], Iterable[Image]]) -> Path:
    """Return `folder`, holding a layout of what `make` yields; made by one process at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            content = Content()
            for image in make():
                content.add(image)
            work = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
            try:
                content.write(work)
                work.rename(folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return folder
