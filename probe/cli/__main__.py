"""`python -m probe.cli`: the command line where the command is not on the path."""

from probe.cli import main

main()
