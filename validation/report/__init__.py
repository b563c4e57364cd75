"""One self-contained HTML page about one network: what `pilcro map --report` writes."""
