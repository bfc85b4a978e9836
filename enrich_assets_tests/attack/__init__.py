"""Attacks on whole processes: killed, run at once, ended under load. Each prints its counts; `python -m enrich_assets_tests.attack.kills`.

They take minutes, so they are no tests of `make test`.
"""
