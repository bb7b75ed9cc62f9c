"""Effects: one adapter per outside thing. Adapters do as told and report; they decide nothing."""
