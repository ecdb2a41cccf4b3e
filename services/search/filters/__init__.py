"""Filters: conditions on declared attributes, as callers write them and as engines are asked."""
