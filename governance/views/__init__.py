"""The pages of the ground floor: reviews, the ledger, one's own account, and the people."""
