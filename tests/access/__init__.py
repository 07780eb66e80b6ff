"""Every role on every route: who may, and who may not."""
