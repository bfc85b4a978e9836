"""Scores and what may be concluded from them: metrics, intervals, tests, comparison of arms, learning curve."""
