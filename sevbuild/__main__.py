"""Run `python -m sevbuild`."""

from sevbuild.cli import main

main()
