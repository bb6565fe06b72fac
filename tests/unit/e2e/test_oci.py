import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from e2e.oci import FORMAT_KEY, NAME_KEY, Content, Image, Layer, Tree


def tree() -> Tree:
    made = Tree()
    made.hard_link("a-second", "b/first")
    made.file("b/first", "text", 0o4755)
    made.symlink("c", "b/first")
    return made


def test_folders_come_first_and_links_after_their_targets() -> None:
    with tarfile.open(fileobj=io.BytesIO(tree().tar())) as archive:
        assert [info.name for info in archive] == ["b", "b/first", "c", "a-second"]


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_a_layer_is_named_by_its_plain_bytes(compression: str) -> None:
    layer = Layer.of(tree(), compression)
    plain = {
        "": lambda data: data,
        "gzip": gzip.decompress,
        "zstd": zstandard.ZstdDecompressor().decompress,
    }[compression](layer.blob)
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert plain == tree().tar()


def test_the_same_files_give_the_same_layout(tmp_path: Path) -> None:
    listings = []
    for name in ("one", "two"):
        content = Content()
        content.add(Image(references=["x:1", "y:1"], layers=[Layer.of(tree())], docker=True))
        content.write(tmp_path / name)
        files = (tmp_path / name).rglob("*")
        listings.append({str(f.relative_to(tmp_path / name)) for f in files})
    assert listings[0] == listings[1]
    index = json.loads((tmp_path / "one" / "index.json").read_text())
    assert [manifest["annotations"] for manifest in index["manifests"]] == [
        {NAME_KEY: "x:1", FORMAT_KEY: "v2s2"},
        {NAME_KEY: "y:1", FORMAT_KEY: "v2s2"},
    ]
    for manifest in index["manifests"]:
        algorithm, _, name = manifest["digest"].partition(":")
        blob = (tmp_path / "one" / "blobs" / algorithm / name).read_bytes()
        assert (hashlib.sha256(blob).hexdigest(), len(blob)) == (name, manifest["size"])
