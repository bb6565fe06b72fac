import subprocess
from pathlib import Path

import pytest

from tests.docs import broken, slug


@pytest.fixture
def site(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "README.md").write_text("# Top\n## A `b` (c)\n## Same\n## Same\n")
    return tmp_path


def check(site: Path, text: str) -> list[str]:
    (site / "sub" / "page.md").write_text(text)
    return broken(site)


@pytest.mark.parametrize(
    "link",
    [
        "[x](../README.md)",
        "[x](../README.md#a-b-c)",
        "[x](../README.md#same-1)",
        "[x](/README.md)",
        "[x](#here)\n# Here",
        "[x](https://example.org/nothing)",
        "`[x](missing)`",
        "```\n[x](missing)\n```",
    ],
)
def test_good_links_are_silent(site: Path, link: str) -> None:
    assert check(site, link) == []


def test_a_missing_file_is_named(site: Path) -> None:
    assert check(site, "[x](other.md)") == ["sub/page.md: other.md: no such file: other.md"]


def test_a_missing_heading_is_named(site: Path) -> None:
    assert check(site, "[x](../README.md#same-2)") == [
        "sub/page.md: ../README.md#same-2: no heading #same-2 in README.md"
    ]


def test_reference_links_count(site: Path) -> None:
    assert check(site, "[x][y]\n\n[y]: gone.md") == ["sub/page.md: gone.md: no such file: gone.md"]


def test_slugs_are_those_of_a_forge() -> None:
    assert slug("Pods: from `A` to [B](c)!") == "pods-from-a-to-b"
