"""Builders: from a config to the objects that it names."""
