"""Effects: one adapter for each daemon or kernel interface. Adapters act and report; they decide nothing."""
