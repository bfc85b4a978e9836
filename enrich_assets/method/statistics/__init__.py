"""Scores and what may be said of them: metrics, intervals, tests, comparison of arms, learning curve."""
