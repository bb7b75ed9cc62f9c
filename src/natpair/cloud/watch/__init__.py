"""The watch on the account: one look at shares and planned work, as values of `core.account`."""
