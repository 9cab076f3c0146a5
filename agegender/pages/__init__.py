"""Results to offline HTML pages."""
