"""One module for each gRPC service. Protobuf ends here and in `cri/convert`."""
