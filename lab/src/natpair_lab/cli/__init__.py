"""The commands that natpair-lab adds to the `natpair` program."""
