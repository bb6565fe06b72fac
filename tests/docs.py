"""Check the documents: every relative link leads to a file, every anchor to a heading.

`python -m tests.docs` prints what is broken and fails if anything is.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_FENCE: Final = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_REFERENCE: Final = re.compile(r"^\[[^\]]+\]:\s*<?(\S+?)>?\s*$", re.MULTILINE)
_HEADING: Final = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$", re.MULTILINE)
_SCHEME: Final = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def documents(root: Path) -> list[Path]:
    """Return the Markdown files that git knows or would add, below `root`."""
    argv = ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard", "--", "*.md"]
    listing = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [root / name for name in sorted(set(listing.split("\0"))) if name]


def slug(heading: str) -> str:
    """Return the anchor that a forge gives to `heading`."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@cache
def anchors(document: Path) -> frozenset[str]:
    """Return the anchors of `document`; headings of one name are counted from the second on."""
    seen: dict[str, int] = {}
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", document.read_text())):
        name = slug(heading)
        number = seen.get(name, 0)
        seen[name] = number + 1
        found.add(f"{name}-{number}" if number else name)
    return frozenset(found)


def targets(document: Path) -> Iterator[str]:
    """Yield where the links of `document` lead, but for those to other sites."""
    text = _FENCE.sub("", document.read_text())
    text = _CODE.sub("``", text)
    for target in (*_LINK.findall(text), *_REFERENCE.findall(text)):
        if not _SCHEME.match(target):
            yield target


def problem(document: Path, target: str, root: Path) -> str | None:
    """Say what is wrong with a link from `document` to `target`, if anything is."""
    path, _, anchor = target.partition("#")
    base = root if path.startswith("/") else document.parent
    file = base / path.lstrip("/") if path else document
    if not file.exists():
        return f"no such file: {path}"
    if anchor and file.suffix == ".md" and anchor not in anchors(file):
        return f"no heading #{anchor} in {file.name}"
    return None


def broken(root: Path) -> list[str]:
    """Return a line for each link below `root` that leads nowhere."""
    return [
        f"{document.relative_to(root)}: {target}: {trouble}"
        for document in documents(root)
        for target in targets(document)
        if (trouble := problem(document, target, root)) is not None
    ]


def main() -> int:
    """Print what is broken; 1 if anything is."""
    lines = broken(Path(__file__).resolve().parent.parent)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
