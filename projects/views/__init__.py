"""The pages of teams, goals, use cases and datasets: each loads what the reader may see and hands acts to a service."""
