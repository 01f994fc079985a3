"""Tables, plots, contact sheets and self-contained HTML pages."""
