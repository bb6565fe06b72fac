"""Run critest on ferry, or on the peer, and print what passed, failed and was skipped.

    python -m e2e.critest --critest PATH [--handler crun] [--handler runc] [--peer] [--cni]
                          [--focus REGEX] [--skip REGEX] [--seed N] [--parallel] [--websocket]
                          [-- ARG...]

PATH is a critest binary of cri-tools, built aside; without one (or with $CRITEST unset) there is
nothing to run, and that is said. `--cni` has plugins connect the pods. `--parallel` needs the
`ginkgo` command in PATH. `--websocket` streams over WebSocket in place of SPDY. Arguments after
`--` go to critest as they are.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from e2e.bench.peer import Containerd, find
from e2e.cni import Place
from e2e.critest.images import HOSTS, layout
from e2e.critest.report import Report
from e2e.daemon import REPOSITORY, Daemon, Service, default_settings
from e2e.packages import fetch
from e2e.registry import mirror, serving_layout

WEBSOCKET = ("--websocket-exec", "--websocket-attach", "--websocket-portforward")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.critest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--critest", default=os.environ.get("CRITEST", ""))
    parser.add_argument("--handler", action="append", choices=["crun", "runc"])
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--cni", action="store_true")
    parser.add_argument("--parallel", action="store_true")
    parser.add_argument("--websocket", action="store_true")
    parser.add_argument("--focus", default="")
    parser.add_argument("--skip", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("rest", nargs="*")
    return parser.parse_args(argv)


def command(options: argparse.Namespace, service: Service, handler: str, folder: Path) -> list[str]:
    """Return the command line of critest."""
    flags = {
        "runtime-endpoint": f"unix://{service.address}",
        "image-endpoint": f"unix://{service.address}",
        "runtime-handler": handler,
        "ginkgo.json-report": str(folder / "report.json"),
        "ginkgo.seed": str(options.seed),
        "ginkgo.focus": options.focus,
        "ginkgo.skip": options.skip,
    }
    argv = [f"--{name}={value}" for name, value in flags.items() if value]
    parallel = ["--parallel=2"] if options.parallel else []
    websocket = WEBSOCKET if options.websocket else ()
    return [
        str(Path(options.critest).resolve()),
        *argv,
        "--ginkgo.no-color",
        *parallel,
        *websocket,
        *options.rest,
    ]


def run(options: argparse.Namespace, service: Service, folder: Path) -> Iterator[Report]:
    """Yield the report of each handler's run."""
    for handler in options.handler or ["crun"]:
        work = folder / handler
        work.mkdir()
        log = work / "critest.log"
        with log.open("w") as output:
            subprocess.run(
                command(options, service, handler, work),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=work,
                check=False,
            )
        print(f"== critest, handler {handler}, log {log}")
        report = work / "report.json"
        if not report.exists():
            print(log.read_text()[-3000:])
            raise SystemExit("critest wrote no report")
        yield Report.read(report)


def daemon(options: argparse.Namespace, folder: Path, certificates: Path) -> Service:
    """Return the daemon to run on, not started yet."""
    own = folder / "daemon"
    if options.peer:
        return Containerd(own, find(), "registry.k8s.io/pause:3.10.2", hosts=certificates)
    settings = default_settings(own)
    if options.cni:
        place = Place(folder / "cni")
        place.write()
        settings["network"] |= place.network()
    return Daemon(own, settings)


def inside(options: argparse.Namespace, folder: Path) -> bool:
    """Run everything in the scope this process is in; tell whether nothing failed."""
    good = True
    with ExitStack() as stack:
        registry = stack.enter_context(serving_layout(layout(), folder / "registry"))
        certificates = folder / "daemon" / "certs.d"
        mirror(certificates, HOSTS, registry)
        stack.enter_context(service := daemon(options, folder, certificates))
        for report in run(options, service, folder):
            print(*report.lines(), sep="\n", flush=True)
            good = good and not report.of("failed")
    return good


def main() -> int:
    """Enter a scope and run there."""
    options = arguments(sys.argv[1:])
    if not options.critest:
        print("critest: skipped: no binary given (--critest PATH or $CRITEST)")
        return 0
    if not os.access(options.critest, os.X_OK):
        print(f"critest: cannot run {options.critest}: not a program")
        return 1
    if "FERRY_SCOPE" not in os.environ:
        fetch()
        scope = str(REPOSITORY / "tests" / "scope.sh")
        os.execv(scope, [scope, sys.executable, "-m", "e2e.critest", *sys.argv[1:]])  # noqa: S606 - no shell
    folder = Path(tempfile.mkdtemp(prefix="ferry-critest-"))
    return 0 if inside(options, folder) else 1


if __name__ == "__main__":
    sys.exit(main())
