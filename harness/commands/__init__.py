"""The verbs of the command line, one file each; every one imports only what it needs."""
