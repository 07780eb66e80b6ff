"""Everything that changes state in training, one module per noun, called through its module."""
