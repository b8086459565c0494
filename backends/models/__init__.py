"""Models in and out of memory: folders, and how text and pictures become what a model reads."""
