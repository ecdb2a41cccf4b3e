"""What callers do, one kind a file, and the goals for it."""
