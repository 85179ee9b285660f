"""The three agents. Nobody imports them: they are started by name, or all by `idds serve`."""
