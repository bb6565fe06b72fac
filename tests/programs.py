"""What containers in contract tests run; fakes know these by heart, kernels just run them."""

from tests.bundles import shell

# Runs until it is killed: as PID 1 it is deaf to signals it does not handle.
FOREVER = shell("echo ready; exec sleep 1000")
# Ends with 3 when it is asked to.
LOYAL = shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
# Ends at once, with 7.
QUICK = shell("exit 7")
MISSING = ("/nosuch", "argument")

SPEAK = shell("echo out; echo err >&2")
FAIL = shell("exit 5")
DIE = shell("kill -9 $$")
HANG = shell("sleep 1000")
FLOOD = shell("yes 0123456789 | head -c 100000")
FLOOD_BYTES = 100_000

CAT = shell("cat")
# Reads a line, says what size its terminal has, and ends with 4.
MEASURE = shell("read line; stty size; exit 4")
# Answers each line on stdout, and on stderr; ends with 6 when there are no more.
ANSWER = shell('while read line; do echo "got $line"; echo "err $line" >&2; done; exit 6')
# Writes without end, whether or not anybody reads.
SHOUT = shell("while :; do echo 0123456789012345678901234567890123456789; done")
