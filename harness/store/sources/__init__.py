"""Models, questions and benchmark data by what they contain, and what a file may call them."""
