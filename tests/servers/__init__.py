"""Real servers for tests. Each is a child process of the test run and leaves nothing behind."""
