"""The policy over packed groups: one prompt and one picture for all responses of a group."""
