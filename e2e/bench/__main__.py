"""Measure ferry beside containerd: the same client, the same calls, in turns, in one run.

    make bench BENCH="--cases B2,B3 --samples 30"

Each case runs ferry, peer, ferry; medians, 90th and 99th percentiles and their ratios come as a
table, a JSON file with every sample, and a plot. The whole run takes some twenty minutes; B4 and
B5 make most of it, for the peer.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from e2e.bench import density, official, pods, pulls, streams
from e2e.bench.facts import gather
from e2e.bench.peer import Containerd, PeerError, Programs, find
from e2e.bench.results import OWN, PEER, Results
from e2e.bench.subject import Sleeper, Subject
from e2e.client import connected
from e2e.critest.images import HOSTS
from e2e.critest.images import layout as critest_layout
from e2e.daemon import REPOSITORY, Daemon, Service, default_settings
from e2e.images import BUSYBOX, PAUSE, layout
from e2e.registry import Registry, mirror, serving_layout

CASES: Final = ("B1", "B2", "B3", "B4", "B5", "B7", "B8", "B9", "B13")
# Below that, a relist a second is too few to tell its cost.
_IDLE_SECONDS: Final = 20
HANDLERS: Final = ("crun", "runc")
PREFIX: Final = "/opt/ferry"


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--cases",
        default=",".join(CASES),
        help="B4 is also B6 (lists, usage), B10 (crash); B5 is a node of idle pods",
    )
    add("--samples", type=int, default=30, help="pods of B2, per handler and subject")
    add("--pods", type=int, default=40, help="pods of B3, per number of clients")
    add("--containers", type=int, default=1000, help="containers of B4")
    add("--idle-pods", type=int, default=300, help="pods of B5")
    add("--seconds", type=float, default=5, help="length of B7 and of the idle part of B4")
    add("--critest", default=os.environ.get("CRITEST", ""), help="a critest binary, for B1")
    add("--no-peer", action="store_true", help="measure ferry alone")
    add("--output", type=Path, default=Path("bench-results"), help="folder of table, JSON, plot")
    return parser.parse_args(argv)


@dataclass(slots=True)
class Bench:
    """A run: what is compared, on which images, and what was found."""

    options: argparse.Namespace
    subjects: dict[str, Subject]
    registry: Registry
    folder: Path
    results: Results

    async def with_sleeper(
        self, subject: Subject, handler: str, work: Callable[[Sleeper], Awaitable[None]]
    ) -> None:
        """Connect to `subject`, see that the image is there, and do the work."""
        async with connected(subject.service.address) as client:
            image = await client.pull(self.registry.reference(BUSYBOX))
            logs = self.folder / "logs" / subject.name
            await work(Sleeper(client, image, handler, logs))

    async def in_turns(self, work: Callable[[Subject, int], Awaitable[None]], samples: int) -> None:
        """Let ferry, the peer and ferry again do the work, so that both see the same weather."""
        half = (samples + 1) // 2
        own, peer = self.subjects[OWN], self.subjects.get(PEER)
        await work(own, half if peer else samples)
        if peer is not None:
            await work(peer, samples)
            await work(own, samples - half)

    async def official(self) -> None:
        """B1."""
        if not self.options.critest:
            self.results.skipped["B1"] = "no critest binary given (--critest PATH or $CRITEST)"
            return
        runs = iter(range(100))
        critest = Path(self.options.critest).resolve()
        with serving_layout(critest_layout(), self.folder / "critest-registry") as registry:
            for subject in self.subjects.values():
                mirror(subject.service.folder / "certs.d", HOSTS, registry)

            async def work(subject: Subject, samples: int) -> None:
                folder = self.folder / f"critest{next(runs)}"
                run = (subject, critest, folder, samples, self.results)
                await asyncio.to_thread(official.run, *run)

            await self.in_turns(work, self.options.samples)

    async def lives(self, handler: str) -> None:
        """B2."""

        async def work(subject: Subject, samples: int) -> None:
            async def live(sleeper: Sleeper) -> None:
                case = f"B2 {handler}"
                await pods.lives(sleeper, self.results, subject.name, case, samples)

            await self.with_sleeper(subject, handler, live)

        await self.in_turns(work, self.options.samples)

    async def stressed(self) -> None:
        """B9."""

        async def work(subject: Subject, samples: int) -> None:
            async def live(sleeper: Sleeper) -> None:
                await pods.lives(sleeper, self.results, subject.name, "B9 busy disk", samples)

            await self.with_sleeper(subject, "crun", live)

        with pods.busy_disk(self.folder):
            await self.in_turns(work, self.options.samples)

    async def churn(self, handler: str) -> None:
        """B3."""
        for clients in (1, 8):

            async def work(subject: Subject, _: int, clients: int = clients) -> None:
                async def live(sleeper: Sleeper) -> None:
                    count = self.options.pods
                    await pods.churn(sleeper, self.results, subject.name, count, clients)

                await self.with_sleeper(subject, handler, live)

            await self.in_turns(work, 2)

    async def probes(self, handler: str) -> None:
        """B7."""

        async def work(subject: Subject, samples: int) -> None:
            async def live(sleeper: Sleeper) -> None:
                seconds = self.options.seconds * (1 if subject.name == PEER else 0.5)
                await pods.probes(sleeper, self.results, subject.name, samples, seconds)

            await self.with_sleeper(subject, handler, live)

        await self.in_turns(work, self.options.samples)

    async def streams(self) -> None:
        """B13."""

        async def work(subject: Subject, rounds: int) -> None:
            async def live(sleeper: Sleeper) -> None:
                await streams.streams(sleeper, self.results, subject.name, rounds)

            await self.with_sleeper(subject, "crun", live)

        await self.in_turns(work, 6)

    async def density(self) -> None:
        """B4, B5, B6, B10: once for each, there is only one crowd."""
        for subject in self.subjects.values():

            async def live(sleeper: Sleeper, subject: Subject = subject) -> None:
                await density.density(
                    subject,
                    sleeper,
                    self.results,
                    pods=20,
                    total=self.options.containers,
                    idle=self.options.seconds,
                )

            # Idle is a daemon that has just started, not one that other cases have used.
            await asyncio.to_thread(subject.service.restart)
            await self.with_sleeper(subject, "crun", live)

    async def idle(self) -> None:
        """B5, a node of idle pods."""
        for subject in self.subjects.values():

            async def live(sleeper: Sleeper, subject: Subject = subject) -> None:
                count, seconds = self.options.idle_pods, max(_IDLE_SECONDS, self.options.seconds)
                await density.node(subject, sleeper, self.results, count, seconds)

            await self.with_sleeper(subject, "crun", live)

    async def pulls(self) -> None:
        """B8: each pull with a daemon and a disk of its own."""
        images = pulls.layout()
        runs = iter(range(100))
        with serving_layout(images, self.folder / "bench-registry") as registry:
            for reference, name in pulls.NAMES.items():

                async def work(
                    subject: Subject, _: int, reference: str = reference, name: str = name
                ) -> None:
                    folder = self.folder / f"pull{next(runs)}"
                    where = registry.reference(reference)
                    await pulls.pull(subject, folder, where, name, self.results)

                await self.in_turns(work, 2)

    async def run(self) -> None:
        """Run the chosen cases in their order."""
        chosen = self.options.cases.split(",")
        cases: dict[str, Sequence[Callable[[], Awaitable[None]]]] = {
            "B1": [self.official],
            "B2": [partial(self.lives, handler) for handler in HANDLERS],
            "B3": [partial(self.churn, handler) for handler in HANDLERS],
            "B7": [partial(self.probes, handler) for handler in HANDLERS],
            "B9": [self.stressed],
            "B13": [self.streams],
            "B8": [self.pulls],
            "B4": [self.density],
            "B5": [self.idle],
        }
        for case, parts in cases.items():
            if case in chosen:
                began = time.monotonic()
                for part in parts:
                    await part()
                print(f"{case}: {time.monotonic() - began:.0f} s", flush=True)


def own(folder: Path) -> Service:
    """Make a ferry as a node has it: quiet, built-in network."""
    settings = default_settings(folder)
    settings["daemon"] = {"log_level": "info"}
    return Daemon(folder, settings)


def peer_or_none(options: argparse.Namespace, results: Results) -> Programs | None:
    """Find the peer, or note why there is none."""
    if options.no_peer:
        results.skipped["peer"] = "--no-peer"
        return None
    try:
        return find()
    except PeerError as error:
        results.skipped["peer"] = str(error)
        return None


async def measure(options: argparse.Namespace, folder: Path) -> None:
    """Start both, measure, and write what was found."""
    results = Results()
    programs = peer_or_none(options, results)
    facts = gather(folder, PREFIX, programs)
    with ExitStack() as stack:
        registry = stack.enter_context(serving_layout(layout(), folder / "registry"))
        subjects = {OWN: Subject(OWN, own, stack.enter_context(own(folder / "own")))}
        if programs is not None:

            def peer(where: Path) -> Service:
                return Containerd(where, programs, registry.reference(PAUSE))

            subjects[PEER] = Subject(PEER, peer, stack.enter_context(peer(folder / "peer")))
        try:
            await Bench(options, subjects, registry, folder, results).run()
        finally:
            write(options.output, results, {**facts, "load after": os.getloadavg()})


def write(output: Path, results: Results, facts: dict[str, object]) -> None:
    """Print the table; write it, the JSON and the plot."""
    from e2e.bench.plot import draw  # noqa: PLC0415 - slow to import, and only needed now

    output.mkdir(parents=True, exist_ok=True)
    listing = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    skipped = "\n".join(f"- skipped {name}: {why}" for name, why in results.skipped.items())
    text = f"{listing}\n{skipped}\n\n{results.table()}\n"
    (output / "bench.md").write_text(text)
    (output / "bench.json").write_text(results.document(facts))
    draw(results, output / "bench.png", f"{facts['peer'] or 'no peer'}, kernel {facts['kernel']}")
    print(text)
    print(f"written to {output}/bench.md, bench.json, bench.png")


def main() -> int:
    """Enter a scope and measure there."""
    options = arguments(sys.argv[1:])
    if os.geteuid() != 0:
        print("bench: a container runtime needs root: sudo make bench")
        return 1
    if "FERRY_SCOPE" not in os.environ:
        scope = str(REPOSITORY / "tests" / "scope.sh")
        os.execv(scope, [scope, sys.executable, "-m", "e2e.bench", *sys.argv[1:]])  # noqa: S606 - no shell
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as folder:
        asyncio.run(measure(options, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
