"""The experiment file: its schema, its mistakes with their lines, its arms with every setting
resolved."""
