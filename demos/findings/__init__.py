"""What one_matrix.py measures: models (ledger), what they hold (analysis), tables and figures."""
