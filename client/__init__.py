"""Client of the search mesh: calls both services, and carries the generated stubs."""
