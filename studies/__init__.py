"""One-off measurements that docs quote; `python -m studies.NAME --help`."""
