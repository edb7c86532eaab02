"""``python -m srgaze360`` is the command ``srgaze360``."""

from srgaze360.cli import main

main()
