"""The apply: install a set of files as a transaction, save it as a generation, confirm it or roll it back."""
