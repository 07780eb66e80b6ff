"""Everything that changes state in projects, one module per noun, called through its module."""
