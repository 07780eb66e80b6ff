"""Proofs as pure functions: canonical form, Merkle tree, signed notes. No database, no clock, no Django."""
