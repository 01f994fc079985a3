"""What scores are worth: metrics, their intervals, tables, and what a page shows of them."""
