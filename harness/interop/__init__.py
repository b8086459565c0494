"""Other toolkits, met half-way: their files, and their scorers in their own interpreters."""
