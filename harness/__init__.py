"""The experiment: what to run, and what came out. Importing it loads neither torch nor mlflow."""

__version__ = "0.1.0"
