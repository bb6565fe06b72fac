"""How ferry gets onto nodes: configuration, units, installation."""
