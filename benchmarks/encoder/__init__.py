"""`make bench-encoder`: the encoder beside its ceiling and beside other servers of its model."""
