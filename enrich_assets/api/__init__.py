"""For people's own code, `import enrich_assets as ea`: the method on vectors of one's own, and an archive's results.

Importing this room brings numpy and pandas at most; whatever else is needed comes with the first call that needs it.
"""
