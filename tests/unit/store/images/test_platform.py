import pytest

from store.images import platform
from store.images.platform import Platform, choose


def linux(architecture: str, variant: str = "", os_version: str = "") -> Platform:
    return Platform(os="linux", architecture=architecture, variant=variant, os_version=os_version)


@pytest.mark.parametrize(
    ("offers", "wanted", "chosen"),
    [
        ([linux("arm64"), linux("amd64")], linux("amd64", "v3"), 1),
        ([linux("amd64"), linux("amd64", "v2"), linux("amd64", "v4")], linux("amd64", "v3"), 1),
        ([linux("amd64", "v4")], linux("amd64", "v3"), None),
        ([linux("amd64", "v1"), linux("amd64")], linux("amd64"), 0),
        ([linux("arm", "v6"), linux("arm", "v7"), linux("arm", "v5")], linux("arm", "v7"), 1),
        ([linux("arm")], linux("arm", "v6"), None),
        ([linux("arm64", "v8")], linux("arm64"), 0),
        ([linux("arm64")], linux("arm64", "v8"), 0),
        ([linux("riscv64")], linux("riscv64"), 0),
        ([linux("s390x", "odd")], linux("s390x"), None),
        ([Platform(os="windows", architecture="amd64"), linux("386")], linux("amd64"), None),
        ([Platform(os="unknown", architecture="unknown")], linux("amd64"), None),
        ([None, linux("amd64")], linux("amd64"), 1),
        ([None, linux("arm64")], linux("amd64"), 0),
        ([linux("amd64", os_version="1"), linux("amd64")], linux("amd64"), 1),
        ([], linux("amd64"), None),
    ],
)
def test_the_best_fitting_offer_is_chosen(
    offers: list[Platform | None], wanted: Platform, chosen: int | None
) -> None:
    assert choose([(offer, number) for number, offer in enumerate(offers)], wanted) == chosen


def test_windows_needs_its_own_build() -> None:
    wanted = Platform(os="windows", architecture="amd64", os_version="10.0.17763")
    offers = [
        Platform(os="windows", architecture="amd64", os_version=version)
        for version in ("10.0.20348.1", "10.0.177630.1", "10.0.17763.5")
    ]
    assert choose([(offer, offer.os_version) for offer in offers], wanted) == "10.0.17763.5"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu", "v1"),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3", "v2"),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe", "v1"),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe", "v3"),
    ],
)
def test_x86_levels_build_on_each_other(flags: str, level: str) -> None:
    assert platform._x86_level(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n") == level


def test_this_machine_has_a_platform() -> None:
    here = platform.host()
    assert here.os == "linux"
    assert platform.rank(here, here) == (0, 0)
    assert str(linux("arm", "v7", "1.2")) == "linux/arm/v7:1.2"
