import pytest
from google.protobuf.message import Message

from cri.api.ferry.v1 import node_pb2
from cri.api.runtime.v1 import api_pb2 as pb
from cri.services.subjects import subject


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (pb.VersionRequest(), {}),
        (pb.StopPodSandboxRequest(pod_sandbox_id="s"), {"pod_sandbox_id": "s"}),
        (pb.StopPodSandboxRequest(pod_sandbox_id="s" * 5000), {"pod_sandbox_id": "s" * 256}),
        (
            pb.RunPodSandboxRequest(
                config=pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name="n", namespace="ns"))
            ),
            {"pod_namespace": "ns", "pod": "n"},
        ),
        (
            pb.CreateContainerRequest(
                pod_sandbox_id="s",
                config=pb.ContainerConfig(metadata=pb.ContainerMetadata(name="c")),
            ),
            {"pod_sandbox_id": "s", "container": "c"},
        ),
        (pb.CreateContainerResponse(container_id="c"), {"container_id": "c"}),
        (
            pb.PullImageRequest(
                image=pb.ImageSpec(image="i"), auth=pb.AuthConfig(password="secret")
            ),
            {"image": "i"},
        ),
        (pb.PullImageResponse(image_ref="sha256:1"), {"image_ref": "sha256:1"}),
        (node_pb2.PullRequest(reference="i", username="u", password="secret"), {"image": "i"}),
        (pb.ImageStatusResponse(image=pb.Image(id="x")), {}),
        (b"raw", {}),
    ],
)
def test_ids_and_names_are_found_and_nothing_else(
    message: Message | bytes, expected: dict[str, str]
) -> None:
    assert subject(message) == expected
