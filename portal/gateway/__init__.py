"""What clients talk to: published models are used here, with access, approval and audit on every call."""
