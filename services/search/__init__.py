"""The search service: keeps collections and documents, answers queries over Milvus."""
