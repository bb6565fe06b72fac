import subprocess

from runtime.network.cni import orphans
from runtime.process import default_environment


def sleeper(name: str) -> "subprocess.Popen[bytes]":
    environment = {**default_environment(), "CNI_CONTAINERID": name}
    return subprocess.Popen(("sleep", "1000"), env=environment)


def test_only_what_works_on_a_sandbox_is_ended() -> None:
    with sleeper("a") as first, sleeper("ab") as second:
        orphans.end({"a"})
        assert first.wait(5) == -9
        assert second.poll() is None
        second.kill()


def test_without_sandboxes_nothing_is_looked_for() -> None:
    with sleeper("") as process:
        orphans.end(())
        assert process.poll() is None
        process.kill()
