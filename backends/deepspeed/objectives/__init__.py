"""What an update optimises: advantages and losses, token by token."""
