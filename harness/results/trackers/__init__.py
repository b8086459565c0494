"""Trackers mirror a run elsewhere, for people who follow it there."""
