"""Pure decisions: what happens next. No clock, no chance, no tasks, no SQL."""
