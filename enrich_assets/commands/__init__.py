"""What the `enrich` command is made of, beside `cli`: how a home is opened and errors are shown, and commands in groups."""
