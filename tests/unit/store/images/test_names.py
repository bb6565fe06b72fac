from store.content import Descriptor
from store.digest import Digest
from store.images import ImageConfig
from store.images.details import Details
from store.images.manifest import Config, Manifest
from store.images.names import Names
from store.images.pins import Pins
from store.images.platform import Platform

A, B = (Digest(f"sha256:{letter * 64}") for letter in "ab")
AB = Digest("sha256:" + "a" * 63 + "b")


def details(id_: Digest, *, size: int = 1) -> Details:
    descriptor = Descriptor(media_type="m", digest=id_, size=1)
    platform = Platform(os="linux", architecture="amd64")
    return Details(
        path=(descriptor,),
        manifest=Manifest(config=descriptor, layers=()),
        config=Config(platform=platform, diff_ids=(), run=ImageConfig()),
        chain_ids=(),
        size=size,
    )


def index(*pins: str) -> Names:
    names = Names(Pins(pins))
    names.put("ns", "x.io/a:v1", details(A))
    names.put("ns", f"x.io/a@{A}", details(A))
    names.put("ns", "x.io/b:v1", details(B))
    return names


def test_names_are_grouped_by_id() -> None:
    a, b = index().list("ns")
    assert (a.id, a.repo_tags, a.repo_digests) == (A, ("x.io/a:v1",), (f"x.io/a@{A}",))
    assert a.names == ("x.io/a:v1", f"x.io/a@{A}")
    assert b.id == B


def test_the_newest_details_count() -> None:
    names = index()
    names.put("ns", "x.io/c:v1", details(A, size=7))
    found = names.find("ns", "x.io/a:v1")
    assert found is not None
    assert found.size == 7


def test_a_name_leads_to_one_image() -> None:
    names = index()
    names.put("ns", "x.io/b:v1", details(A))
    assert [image.id for image in names.list("ns")] == [A]
    assert names.find("ns", B) is None


def test_an_image_is_gone_with_its_last_name() -> None:
    names = index()
    names.drop("ns", "x.io/a:v1")
    assert names.get("ns", A).repo_tags == ()
    names.drop("ns", f"x.io/a@{A}")
    names.drop("ns", "never there")
    assert names.find("ns", A) is None


def test_a_short_id_must_be_the_only_one() -> None:
    names = index()
    assert names.find("ns", "a" * 12) is names.get("ns", A)
    names.put("ns", "x.io/ab:v1", details(AB))
    assert names.find("ns", "a" * 12) is None
    assert names.find("ns", "sha256:b") is names.get("ns", B)


def test_a_name_of_hexadecimal_digits_beats_an_id() -> None:
    names = index()
    names.put("ns", "docker.io/library/aaaaaaaa:latest", details(B))
    found = names.find("ns", "aaaaaaaa")
    assert found is not None
    assert found.id == B


def test_what_looks_like_an_id_is_no_name() -> None:
    names = index()
    names.put("ns", "docker.io/library/sha256:b", details(A))
    assert names.find("ns", "sha256:b") is names.get("ns", B)


def test_pins_may_change() -> None:
    names = index("x.io/a*")
    assert names.get("ns", A).pinned
    names.repin(Pins(["x.io/b:v1"]))
    assert not names.get("ns", A).pinned
    assert names.get("ns", B).pinned


def test_namespaces_know_nothing_of_each_other() -> None:
    names = index()
    assert names.list("other") == []
    assert names.find("other", "x.io/a:v1") is None
