"""`python -m cri.cli` is `ferry`."""

from cri.cli import main

main()
