"""Our .proto files and what is generated from them by `make generate`; nothing is edited by hand."""
