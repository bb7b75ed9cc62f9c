"""The command line: one word per verb. Heavy imports happen inside the commands that need them."""
