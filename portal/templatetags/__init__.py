"""Template tags of the site: `ui` for small display pieces, `charts` for printable drawings."""
