import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import InvalidArgumentError
from store.images import reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry:5000/a/b:t", "registry:5000/a/b:t"),
        ("[::1]:5000/app:t", "[::1]:5000/app:t"),
        ("UPPER/app", "UPPER/app:latest"),
        ("ghcr.io/o/n__x/y--z.q:T_1.-", "ghcr.io/o/n__x/y--z.q:T_1.-"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"quay.io/a/b:tag@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        ("deadbeef", "docker.io/library/deadbeef:latest"),
        ("a:5000", "docker.io/library/a:5000"),
    ],
)
def test_a_reference_has_one_normal_form(text: str, name: str) -> None:
    assert str(reference.parse(text)) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "repository is empty"),
        ("Busybox", "upper case"),
        ("quay.io/Upper", "upper case"),
        ("a//b", "not allowed"),
        ("a/../b", "not allowed"),
        ("../a", "not a registry host"),
        ("a b", "not allowed"),
        ("a\n", "not allowed"),
        ("a:", "not a tag"),
        ("a:" + "t" * 129, "not a tag"),
        ("a:-x", "not a tag"),
        ("a@", "cannot read digest"),
        ("a@sha256:" + "AB" * 32, "cannot read digest"),
        ("a@md5:" + "ab" * 16, "cannot read digest"),
        ("a@sha256:../../x", "cannot read digest"),
        ("registry:99999/a", "not a registry host"),
        ("-x.io/a", "not a registry host"),
        ("x.io:80:80/a", "not a registry host"),
        ("ab" * 32, "image id"),
        ("x.io/" + "a" * 251, "more than 255"),
        ("a" * 10_000, "longer than 512"),
        ("https://x.io/a", "not"),
        ("x\0y", "not allowed"),
        ("é", "not allowed"),
    ],
)
def test_what_is_not_a_reference_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason) as caught:
        reference.parse(text)
    assert len(str(caught.value)) < 500


def test_parts_of_a_reference() -> None:
    parsed = reference.parse("quay.io/a/b:v1")
    assert (parsed.domain, parsed.path, parsed.tag, parsed.digest) == ("quay.io", "a/b", "v1", None)
    assert parsed.repository == "quay.io/a/b"
    assert parsed.object == "v1"
    at = parsed.at(reference.parse(f"x@{DIGEST}").digest or pytest.fail("no digest"))
    assert str(at) == f"quay.io/a/b@{DIGEST}"
    assert at.object == DIGEST


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        (DIGEST, "ab" * 32),
        ("ab" * 32, "ab" * 32),
        ("sha256:ab", "ab"),
        ("abcdef0", "abcdef0"),
        ("abcdef", None),
        ("busybox", None),
        ("sha256:", None),
        ("sha256:XY", None),
        ("ab" * 33, None),
    ],
)
def test_ids_may_be_shortened(text: str, prefix: str | None) -> None:
    assert reference.id_prefix(text) == prefix


@given(st.text(max_size=600))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except InvalidArgumentError:
        return
    assert reference.parse(str(parsed)) == parsed
    assert (parsed.tag is None) != (parsed.digest is None)


_WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
_DOMAINS = st.sampled_from(["", "docker.io/", "localhost/", "x.io/", "x:5000/", "[::1]:80/"])
_ENDS = st.sampled_from(["", ":t", ":1.2-3_4", f"@{DIGEST}", f":t@{DIGEST}"])


@given(_DOMAINS, st.lists(_WORD, min_size=1, max_size=4), _ENDS)
def test_normalizing_twice_changes_nothing(domain: str, path: list[str], end: str) -> None:
    parsed = reference.parse(domain + "/".join(path) + end)
    assert reference.parse(str(parsed)) == parsed
    assert parsed.repository.endswith("/".join(path))
