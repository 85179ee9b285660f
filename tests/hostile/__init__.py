"""Bad input: what the served document calls invalid, what it does not foresee, and what is no HTTP at all."""
