"""The proof of natpair: a lab in network namespaces, drills, benches, chaos and an emulator of Linode's API."""
