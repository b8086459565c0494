"""How a model is trained and asked: backends train a stage, engines turn questions into
responses.
"""
