"""Governance is the ground floor: who may, who did, who agreed, and by which rule; it knows no other package."""
