"""Between CRI's protobuf messages and ferry's own types: pure functions, both ways.

`*_from` functions read a message and raise InvalidArgumentError, naming the field by the path they
are given; what a message leaves out becomes the value our types document for "not set". `*_to`
functions write a message from a value that is valid already and never raise.
"""
