"""From metrics to tables, statistics and figures."""
