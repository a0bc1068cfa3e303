"""Text, JSON and HTML from one result model."""
