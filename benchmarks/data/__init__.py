"""Files in: questions, tables, owners' files, and what was published of them."""
