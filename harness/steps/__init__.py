"""Steps: each a function of its spec, run by :mod:`harness.run.trial`.

``specs.py`` says what they depend on and loads nothing heavy; the work is in ``synthesize.py``,
``train.py``, ``generate.py`` and ``score.py``.
"""
