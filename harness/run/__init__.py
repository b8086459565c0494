"""Walks a plan: trials as processes, placed by an executor, shown to people."""
