"""Real clients against the real daemon, on real images and a real registry: no mock anywhere.

`packages` fetches Debian packages, `oci` and `images` make images of them, `registry` serves those,
`harness` runs daemons and looks for what they leave behind. `demo` is the tour, `critest` runs the
conformance suite, `bench` measures ferry beside a peer. `node` is for ferry as systemd runs it;
`vm` boots a machine for that.
"""
