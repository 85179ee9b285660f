"""The real engine, services and store, with a world in memory where everything goes wrong by a seed."""
