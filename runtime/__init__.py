"""What runs: kernel, network, OCI runtimes, tasks, pods.

Imports `store`, never `cri`; nothing here knows of protobuf or gRPC.
"""
