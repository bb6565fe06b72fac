from hypothesis import given
from hypothesis import strategies as st

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.resources import resources_from, resources_to
from runtime.spec import HugepageLimit, Resources

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**63), 2**63 - 1)
resources = st.builds(
    Resources,
    cpu_period=numbers,
    cpu_quota=numbers,
    cpu_shares=numbers,
    memory_limit=numbers,
    memory_swap_limit=numbers,
    oom_score_adj=numbers,
    cpuset_cpus=words,
    cpuset_mems=words,
    hugepages=st.lists(
        st.builds(HugepageLimit, page_size=words, limit=st.integers(0, 2**64 - 1)), max_size=3
    ).map(tuple),
    unified=st.dictionaries(words, words, max_size=3),
)


@given(resources)
def test_limits_survive_both_ways(value: Resources) -> None:
    assert resources_from(resources_to(value)) == value


def test_an_absent_message_sets_nothing() -> None:
    assert resources_from(pb.ContainerConfig().linux.resources) == Resources()
