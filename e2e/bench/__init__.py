"""ferry beside a peer: the same calls, from the same client, in turns, in one run."""
