"""The routes under `/idds` that callers of the official idds-client know: the same service, in other words."""
