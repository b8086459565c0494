"""The verbs of the command line, one file each. A verb imports what it needs when it runs, so that
``harness --help`` is instant."""
