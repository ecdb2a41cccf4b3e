"""Every method of the clients, described once: its arguments, its request, how its answer reads.

Common to all: `timeout` is the seconds that the call may take, retries included; by default the
connection's, else the method's own. Every error is a `ServiceError`, see `searchmesh.errors`.
"""
