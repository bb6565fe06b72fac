from dataclasses import replace

import pytest

from runtime.spec import HugepageLimit, Resources
from runtime.spec.resources import check, document, merge_resources, update_document
from store.errors import FailedPreconditionError, InvalidArgumentError
from tests.specs import HOST

PLAIN = replace(HOST, hugepage_sizes=(), swap_accounting=False)
HUGE = (HugepageLimit(page_size="2MB", limit=4096),)


def test_nothing_asked_is_nothing_written() -> None:
    assert document(Resources(), PLAIN) == {}


def test_limits_of_cpu_and_memory() -> None:
    resources = Resources(
        cpu_period=100_000,
        cpu_quota=-1,
        cpu_shares=2,
        cpuset_cpus="0-2,5",
        cpuset_mems="0",
        memory_limit=1000,
    )
    assert document(resources, PLAIN) == {
        "cpu": {"shares": 2, "quota": -1, "period": 100_000, "cpus": "0-2,5", "mems": "0"},
        "memory": {"limit": 1000},
    }


@pytest.mark.parametrize(("swap", "expected"), [(0, 1000), (3000, 3000), (-1, -1)])
def test_a_limited_container_does_not_swap_unless_told(swap: int, expected: int) -> None:
    host = replace(PLAIN, swap_accounting=True)
    resources = Resources(memory_limit=1000, memory_swap_limit=swap)
    assert document(resources, host) == {"memory": {"limit": 1000, "swap": expected}}
    assert document(resources, PLAIN) == {"memory": {"limit": 1000}}


def test_every_hugepage_size_is_limited() -> None:
    assert document(Resources(hugepages=HUGE), HOST) == {
        "hugepageLimits": [
            {"pageSize": "2MB", "limit": 4096},
            {"pageSize": "1GB", "limit": 0},
        ]
    }
    zero = Resources(hugepages=(HugepageLimit(page_size="64KB", limit=0),))
    assert document(zero, PLAIN) == {}


@pytest.mark.parametrize(
    ("resources", "field"),
    [
        (Resources(cpu_shares=-1), "cpu_shares"),
        (Resources(cpu_period=999), "cpu_period"),
        (Resources(cpu_period=1_000_001), "cpu_period"),
        (Resources(cpu_quota=999), "cpu_quota"),
        (Resources(cpu_quota=-2), "cpu_quota"),
        (Resources(memory_limit=-2), "memory_limit_in_bytes"),
        (Resources(memory_swap_limit=-2), "memory_swap_limit_in_bytes"),
        (Resources(memory_limit=10, memory_swap_limit=9), "memory_swap_limit_in_bytes"),
        (Resources(cpuset_cpus="0-"), "cpuset_cpus"),
        (Resources(cpuset_mems="a"), "cpuset_mems"),
        (Resources(hugepages=(replace(HUGE[0], limit=-1),)), r"hugepage_limits\[2MB\]"),
        (Resources(hugepages=(replace(HUGE[0], page_size="3MB"),)), "hugepage_limits 3MB"),
        (Resources(unified={"../x": "1"}), "unified"),
        (Resources(unified={"memory": "1"}), "unified"),
    ],
)
def test_values_that_never_work_are_refused_by_field(resources: Resources, field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"cannot use resources.{field}"):
        check(resources, HOST)


def test_what_this_node_lacks_is_refused() -> None:
    with pytest.raises(FailedPreconditionError, match="no hugetlb controller"):
        check(Resources(hugepages=HUGE), PLAIN)
    with pytest.raises(FailedPreconditionError, match=r"memory\.high.*cgroup v1"):
        check(Resources(unified={"memory.high": "1"}), replace(HOST, cgroup_version=1))


def test_an_update_keeps_what_it_does_not_set() -> None:
    current = Resources(
        cpu_shares=10,
        cpu_quota=5000,
        memory_limit=1000,
        oom_score_adj=7,
        hugepages=HUGE,
        unified={"memory.high": "1", "memory.low": "2"},
    )
    update = Resources(
        cpu_quota=-1,
        memory_limit=2000,
        hugepages=(*HUGE, HugepageLimit(page_size="1GB", limit=0)),
        unified={"memory.high": "max"},
    )
    assert merge_resources(current, update) == Resources(
        cpu_shares=10,
        cpu_quota=-1,
        memory_limit=2000,
        oom_score_adj=7,
        hugepages=HUGE,
        unified={"memory.high": "max", "memory.low": "2"},
    )
    assert merge_resources(current, Resources()) == current


@pytest.mark.parametrize("pages", [replace(HUGE[0], limit=8192), replace(HUGE[0], page_size="1GB")])
def test_hugepages_cannot_change(pages: HugepageLimit) -> None:
    with pytest.raises(InvalidArgumentError, match=r"hugepage_limits.*cannot change"):
        merge_resources(Resources(hugepages=HUGE), Resources(hugepages=(pages,)))


@pytest.mark.parametrize(
    ("before", "update", "swap"),
    [
        ((100, 100), (200, 0), 200),
        ((100, 150), (200, 0), 250),
        ((100, 150), (50, 0), 100),
        ((100, 150), (200, 300), 300),
        ((100, 0), (200, 0), 0),
        ((100, -1), (200, 0), -1),
        ((0, 150), (200, 0), 150),
        ((100, 150), (-1, 0), 150),
        ((100, 150), (0, 0), 150),
    ],
)
def test_a_new_memory_limit_leaves_the_swap_there_was(
    before: tuple[int, int], update: tuple[int, int], swap: int
) -> None:
    current = Resources(memory_limit=before[0], memory_swap_limit=before[1])
    asked = Resources(memory_limit=update[0], memory_swap_limit=update[1])
    assert merge_resources(current, asked).memory_swap_limit == swap


def test_the_document_of_an_update() -> None:
    resources = Resources(cpu_shares=10, memory_limit=1000, hugepages=HUGE, unified={"a.b": "1"})
    assert update_document(resources, HOST) == {
        "cpu": {"shares": 10},
        "memory": {"limit": 1000, "swap": 1000},
        "unified": {"a.b": "1"},
    }
    with pytest.raises(InvalidArgumentError, match="cpu_shares"):
        update_document(Resources(cpu_shares=-1), HOST)
