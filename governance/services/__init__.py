"""Everything that changes state on the ground floor, one module per noun, called through its module."""
