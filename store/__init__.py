"""What is kept: content, snapshots, images, records, leases, and what collects the unused.

Nothing here knows of processes or of CRI. Every record is keyed by (namespace, id); bytes and
layers are shared between namespaces, names are not.
"""
