"""`python -m ssd_core.cli`: the `ssd` command, for launchers that start modules."""

from ssd_core.cli.app import main

main()
