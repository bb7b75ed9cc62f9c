"""natpair: two small Linux machines become one highly available NAT gateway."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("natpair")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
