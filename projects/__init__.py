"""What the organisation is trying to do, and with which data: teams, goals, use cases, datasets, repositories."""
