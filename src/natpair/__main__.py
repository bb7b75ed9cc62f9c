"""`python -m natpair`: the same entry point as the `natpair` program."""

from natpair.cli.main import entry

if __name__ == "__main__":
    entry()
