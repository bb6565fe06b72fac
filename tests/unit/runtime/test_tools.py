from pathlib import Path

import pytest

from runtime import tools


def _program(directory: Path, name: str, says: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_path_wins_then_the_prefix_then_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = _program(tmp_path / "usr", "conmon", "conmon version 2.1.12")
    monkeypatch.setenv("PATH", str(system.parent))
    prefix = tmp_path / "prefix"
    assert tools.find("conmon", prefix) == system
    own = _program(prefix / "bin", "conmon", "conmon version 2.1.13")
    assert tools.find("conmon", prefix) == own
    named = _program(tmp_path / "named", "conmon", "conmon version 2.1.14")
    assert tools.find(str(named), prefix) == named
    assert tools.find(str(tmp_path / "missing"), prefix) is None


async def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    old = _program(tmp_path, "conmon", "conmon version 2.1.9")
    new = _program(tmp_path, "crun", "crun version 1.28")
    found = await tools.survey({"conmon": str(old), "crun": str(new)}, tmp_path / "prefix")
    assert found["conmon"].version == "2.1.9"
    assert "2.1.10 or newer" in found["conmon"].problem
    assert found["crun"].problem == ""


async def test_what_is_missing_comes_with_its_cure(tmp_path: Path) -> None:
    found = await tools.survey({"nft": str(tmp_path / "nft")}, tmp_path)
    assert found["nft"].path is None
    assert found["nft"].required
    assert "built-in network" in found["nft"].problem
    assert "apt-get install nftables" in found["nft"].line()


async def test_a_program_that_says_nothing_is_a_problem(tmp_path: Path) -> None:
    mute = _program(tmp_path, "criu", "")
    found = await tools.survey({"criu": str(mute)}, tmp_path)
    assert found["criu"].problem == "does not tell its version"
