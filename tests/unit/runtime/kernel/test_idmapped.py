from pathlib import Path

import pytest

from runtime.kernel.idmapped import _directories, _moved, overlays


def test_layers_are_found_again_below_the_target() -> None:
    lower = "lowerdir=/s/12/fs:/s/3/fs"
    assert _directories(lower) == ["/s/12/fs", "/s/3/fs"]
    assert _moved(lower, "/s", Path("/t")) == "lowerdir=/t/12/fs:/t/3/fs"
    assert _moved("workdir=/s/9/work", "/s", Path("/t")) == "workdir=/t/9/work"


@pytest.mark.parametrize("option", ["volatile", "index=off", "context=a:b", "metacopy=off"])
def test_other_options_stay_as_they_are(option: str) -> None:
    assert _directories(option) == []
    assert _moved(option, "/s", Path("/t")) == option


@pytest.mark.parametrize("release", ["5.19", "6.1.0-44-amd64", "10.0"])
def test_kernels_since_5_19_can(release: str) -> None:
    assert overlays(release)


@pytest.mark.parametrize("release", ["5.18.0", "4.20", "odd"])
def test_older_kernels_cannot(release: str) -> None:
    assert not overlays(release)
