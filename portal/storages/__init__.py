"""Where bytes are kept: one Django Storage per file, chosen by dotted path in settings.STORAGES.

The contract of a content store: a name is `aa/bb/<sha256>`, saving a name that is there changes nothing, and what is
saved is complete and has that sha256, or is not there at all. The `url` of a store on another origin is an address that
is signed, ends soon and gives this one object: clients of the Hub are sent there instead of being given the bytes here.
"""
