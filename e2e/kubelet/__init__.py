"""A real, unmodified kubelet that runs static pods on ferry, without an API server.

`build` makes the kubelet from its Go module, `process` runs it in a mount namespace of its own,
`manifests` writes what it reads and `api` reads what it serves. The tests share one kubelet and one
ferryd: see `conftest`.
"""
