"""For whoever writes a plugin: in-memory adapters, a manual clock, the contract suites."""
