"""What every page and endpoint shares: a declared policy, keyset paging, and the manners of the REST API."""
