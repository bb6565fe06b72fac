"""The wire: gRPC services, configuration, command line, and the daemon that puts it together."""
