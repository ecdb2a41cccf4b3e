"""Backups of what one machine holds: the journal's file, the embedded engine's and the contents."""
