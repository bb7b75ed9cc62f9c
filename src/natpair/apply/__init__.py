"""The apply: a bundle of files put in place as a transaction, kept as a generation, confirmed or rolled back."""
