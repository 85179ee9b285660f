"""The Protocols that adapters fulfil. Each has a contract suite in `idds.testing`."""
