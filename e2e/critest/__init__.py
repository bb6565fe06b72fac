"""The conformance suite of cri-tools, run against a daemon, with images made here.

python -m e2e.critest --critest PATH [--handler crun] [--peer] [--focus REGEX] ...
"""
