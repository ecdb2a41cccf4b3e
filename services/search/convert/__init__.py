"""Between the contract's messages and our own types, one module for each service."""
