"""Waiting items become batches on worker threads: who is let in, who is next, and what it costs."""
