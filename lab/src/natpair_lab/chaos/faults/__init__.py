"""The faults, one module for each kind. Each module holds rows of the catalogue together with their code."""
