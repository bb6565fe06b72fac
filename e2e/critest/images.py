"""Stand-ins for the images that critest pulls: what the specs look at, and nothing else.

Process names, users, ports and log texts are as the specs expect them. A reference has no registry
host here; `HOSTS` are the registries that a daemon's hosts.toml has to send to the one that serves
these, which finds a repository by its path alone.

One image cannot be made: "public image with digest" names the digest of the original's own bytes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from e2e.images import GROUPS, USERS, cached_layout, nginx_layer, pause_layer, system_tree
from e2e.oci import ARCHITECTURE, Image, Layer, Tree
from e2e.packages import Packages, cache_folder, packages

HOSTS: Final = ("registry.k8s.io", "k8s.gcr.io", "gcr.io", "public.ecr.aws")

E2E: Final = "e2e-test-images"
STAGING: Final = "k8s-staging-cri-tools"
BENCHMARK: Final = "docker/library"

# The one in procps brings half a system along.
PGREP: Final = """\
#!/bin/sh
exec pidof "$1"
"""
HTTPD: Final = """\
#!/bin/sh
echo "httpd: listening on port 80"
exec httpd -f -p 80 -h /srv/www
"""


def nginx_conf(port: int) -> str:
    """Configure nginx to answer every request on `port` with 200."""
    return f"""\
user nobody nogroup;
worker_processes 1;
pid /var/run/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    server {{
        listen {port};
        location / {{ default_type text/plain; return 200 "nginx\\n"; }}
    }}
}}
"""


def busybox_layer(base: Packages) -> Layer:
    """Pack a small system with two commands that busybox lacks."""
    tree = system_tree(base)
    tree.program("usr/bin/ipcs", base, "ipcs")
    tree.file("usr/bin/pgrep", PGREP, 0o755)
    return Layer.of(tree)


def httpd_layer() -> Layer:
    """Pack a page and a command that serves it and says "httpd" in its log."""
    tree = Tree()
    tree.file("usr/local/bin/httpd-foreground", HTTPD, 0o755)
    tree.file("srv/www/index.html", "It works!\n")
    return Layer.of(tree)


def setuid_layer(base: Packages) -> Layer:
    """Pack a setuid shell: with -p it keeps the privileges it is given, and can tell them."""
    tree = Tree()
    tree.program("nonewprivs", base, "bash")
    tree.file("nonewprivs", base.program("bash").read_bytes(), 0o4755)
    return Layer.of(tree)


def group_layer() -> Layer:
    """Pack a user who belongs to a group that only the image knows."""
    tree = Tree()
    users = [line for line in USERS.splitlines(keepends=True) if ":1000:" not in line]
    groups = [line for line in GROUPS.splitlines(keepends=True) if "user" not in line]
    tree.file("etc/passwd", "".join(users) + "default-user:x:1000:1000::/:/bin/sh\n")
    tree.file(
        "etc/group",
        "".join(groups) + "default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n",
    )
    return Layer.of(tree)


def images(base: Packages) -> Iterator[Image]:
    """Make every image, the distinct ones with distinct digests."""
    busybox = busybox_layer(base)
    yield Image(references=[f"{E2E}/busybox:1.29-2"], layers=[busybox])
    yield Image(
        references=[f"{E2E}/httpd:2.4.39-4"],
        layers=[busybox, httpd_layer()],
        command=["httpd-foreground"],
    )
    yield Image(
        references=[f"{E2E}/nonewprivs:1.3"],
        layers=[setuid_layer(base)],
        command=["/nonewprivs", "-p", "-c", 'echo "Effective uid: $EUID"'],
    )
    yield from nginx_images(base, busybox)
    yield from pause_images(base)
    yield from staging_images(busybox)
    yield from marked_images(busybox)


def nginx_images(base: Packages, busybox: Layer) -> Iterator[Image]:
    """Make the web servers: one for a pod of its own, one for the host's network."""
    for name, port in {
        f"{E2E}/nginx:1.14-2": 80,
        f"{STAGING}/hostnet-nginx-{ARCHITECTURE}:latest": 12003,
    }.items():
        yield Image(
            references=[name],
            layers=[busybox, nginx_layer(base, nginx_conf(port))],
            command=["nginx", "-e", "stderr", "-g", "daemon off;"],
        )


def pause_images(base: Packages) -> Iterator[Image]:
    """Make the images that hold a pod: the versions differ, the registries' copies do not."""
    pause = pause_layer(base)
    for version in ("3.9", "3.10", "3.10.1", "3.10.2"):
        yield Image(
            references=[f"pause:{version}"],
            layers=[pause, Layer.of_file("version", f"{version}\n")],
            command=["/pause", "-P"],
            user="65535:65535",
        )


def staging_images(busybox: Layer) -> Iterator[Image]:
    """Make the images with users and groups."""
    for name, user in {
        "user-uid": "1002",
        "user-username": "www-data",
        "user-uid-group": "1003:users",
        "user-username-group": "www-data:100",
    }.items():
        yield Image(references=[f"{STAGING}/test-image-{name}:latest"], layers=[busybox], user=user)
    yield Image(
        references=[f"{STAGING}/test-image-predefined-group:latest"],
        layers=[busybox, group_layer()],
        user="1000",
    )


def marked_images(busybox: Layer) -> Iterator[Image]:
    """Make the images of the image specs and benchmarks: alike but for a marker."""
    tags: Sequence[Sequence[str]] = (
        ("latest:latest",),
        ("digest:latest",),
        ("tag:test",),
        ("tag:all",),
        ("1:latest",),
        ("2:latest",),
        ("3:latest",),
        ("tags:1", "tags:2", "tags:3"),
    )
    for group in tags:
        marker = Layer.of_file("test-image", f"{group[0]}\n")
        references = [f"{STAGING}/test-image-{tag}" for tag in group]
        yield Image(references=references, layers=[busybox, marker])
    for tag in ("1.35.0-glibc", "1-uclibc", "1", "1-glibc", "1-musl"):
        marker = Layer.of_file("benchmark-image", f"{tag}\n")
        yield Image(references=[f"{BENCHMARK}/busybox:{tag}"], layers=[busybox, marker])


def layout() -> Path:
    """Return the folder of an OCI layout with every image, making it where it is missing."""
    base = packages()
    key = hashlib.sha256(base.versions.encode())
    folder = Path(__file__).parent
    for source in (Path(__file__), folder.with_name("images.py"), folder.with_name("oci.py")):
        key.update(source.read_bytes())
    return cached_layout(
        cache_folder() / "images" / f"critest-{key.hexdigest()[:16]}", lambda: images(base)
    )
