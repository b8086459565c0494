"""What is going to be done: arms and seeds become trials, trials become hashed steps."""
