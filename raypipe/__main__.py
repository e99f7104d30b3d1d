"""`python -m raypipe` is `raypipe`."""

from raypipe.cli import main

main()
