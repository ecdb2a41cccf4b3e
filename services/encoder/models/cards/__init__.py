"""Cards of our own models: data, and a package so that they are installed."""
