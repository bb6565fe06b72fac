"""CRI's image service: what the kubelet pulls, finds and removes images with."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.convert.image import credentials_from, image_to, usage_to
from cri.services.cri_runtime import NAMESPACE
from cri.services.serialised import MAX_CHUNK, check_size
from cri.services.validation import check
from runtime.operations import Operation, current
from runtime.spec import Json
from store.images import ImageStore, Progress, Report, UnpackedImage

_ORDER: Final[Mapping[str, int]] = {"resolve": 0, "download": 1, "unpack": 2, "publish": 3}


class ImageService(api_pb2_grpc.ImageServiceServicer):
    """All RPCs of `runtime.v1.ImageService`."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images

    async def ListImages(
        self, request: pb.ListImagesRequest, context: object
    ) -> pb.ListImagesResponse:
        """List complete images; a filter that names one gives that or nothing."""
        check(request)
        answer = pb.ListImagesResponse(images=self._listed(request.filter))
        check_size(answer.ByteSize(), "StreamImages")
        return answer

    async def StreamImages(
        self, request: pb.StreamImagesRequest, context: object
    ) -> AsyncIterator[pb.StreamImagesResponse]:
        """List in chunks."""
        check(request)
        chunk = pb.StreamImagesResponse()
        for image in self._listed(request.filter):
            if chunk.images and chunk.ByteSize() + image.ByteSize() > MAX_CHUNK:
                yield chunk
                chunk = pb.StreamImagesResponse()
            chunk.images.append(image)
        if chunk.images:
            yield chunk

    def _listed(self, wanted: pb.ImageFilter) -> Iterator[pb.Image]:
        if name := wanted.image.image:
            found = self._images.find(NAMESPACE, name)
            return map(image_to, [found] if found else [])
        return map(image_to, self._images.list(NAMESPACE))

    async def ImageStatus(
        self, request: pb.ImageStatusRequest, context: object
    ) -> pb.ImageStatusResponse:
        """Tell about one image; an absent one is no error, only no image."""
        check(request)
        image = self._images.find(NAMESPACE, request.image.image)
        if image is None:
            return pb.ImageStatusResponse()
        info = {"info": json.dumps(_info(image))} if request.verbose else {}
        return pb.ImageStatusResponse(image=image_to(image), info=info)

    async def PullImage(
        self, request: pb.PullImageRequest, context: object
    ) -> pb.PullImageResponse:
        """Pull, and return the image's id."""
        check(request)
        image = await self._images.pull(
            NAMESPACE,
            request.image.image,
            credentials=credentials_from(request.auth),
            report=stages(current()),
        )
        return pb.PullImageResponse(image_ref=str(image.id))

    async def RemoveImage(
        self, request: pb.RemoveImageRequest, context: object
    ) -> pb.RemoveImageResponse:
        """Forget every name of an image; an unknown one is removed already."""
        check(request)
        await self._images.remove(NAMESPACE, request.image.image)
        return pb.RemoveImageResponse()

    async def ImageFsInfo(
        self, request: pb.ImageFsInfoRequest, context: object
    ) -> pb.ImageFsInfoResponse:
        """Tell what images and writable layers take; works on an empty store."""
        check(request)
        usage = [usage_to(one) for one in await self._images.usage()]
        return pb.ImageFsInfoResponse(image_filesystems=usage, container_filesystems=usage)


def stages(operation: Operation | None) -> Report | None:
    """Return a report that moves an operation through the stages of a pull, only forward.

    Layers are downloaded and unpacked side by side; the operation is where the furthest one is.
    """
    if operation is None:
        return None
    reached = 0

    def report(progress: Progress) -> None:
        nonlocal reached
        rank = _ORDER.get(progress.stage, reached)
        if rank >= reached:
            reached = rank
            operation.stage(
                progress.stage, f"{progress.item} ({progress.done} of {progress.total} bytes)"
            )

    return report


def _info(image: UnpackedImage) -> Json:
    config = image.config
    return {
        "chainID": image.chain_id,
        "manifest": {"mediaType": image.manifest.media_type, "digest": str(image.manifest.digest)},
        "names": list(image.names),
        "config": {
            "Entrypoint": list(config.entrypoint),
            "Cmd": list(config.cmd),
            "Env": list(config.env),
            "WorkingDir": config.working_dir,
            "User": config.user,
            "StopSignal": config.stop_signal,
            "Labels": dict(config.labels),
        },
    }
