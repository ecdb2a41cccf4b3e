"""Imports: streams of documents, put on disk as they come and stored afterwards."""
