"""One module for each group of gRPC calls. Protobuf ends here and in `cri/convert`.

A method checks its request, converts it, asks one Protocol of the runtime, converts the answer.
"""
