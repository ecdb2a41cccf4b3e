"""`python -m searchmesh.cli`: the command line without its script."""

from searchmesh.cli import main

main()
