"""Real clients against the real daemon, on real images and a real registry: no mock anywhere.

`packages` fetches Debian packages, `oci` and `images` make images of them, `registry` serves those;
`golang` builds programs that are not packaged. `daemon` runs daemons, `leaks` looks for what they
leave behind. `demo` is the tour, `critest` runs the conformance suite, `kubelet` has a real kubelet
drive ferry, `bench` measures it beside a peer. `node` is for ferry as systemd runs it; `vm` boots a
machine for that.
"""
