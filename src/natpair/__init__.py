"""natpair: two small Linux machines become one highly available NAT gateway."""


def __getattr__(name: str) -> str:
    """`__version__`, from the package's metadata when it is asked for: reading it takes longer than `--help`."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("natpair")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
