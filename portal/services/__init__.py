"""What changes state and belongs to the site alone."""
