"""The page that operators watch: HTML made here, live by the stream of events, with all that it shows also as JSON."""
