"""What any gRPC service of the mesh needs; nothing here knows about encoding or search."""
