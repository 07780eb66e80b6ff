"""What every source shares while it reads an untrusted file: words, decoding, limits and signatures.

This is not a source: the scan of ``projects.sources`` looks at files, never at folders. Nothing here imports a source.
"""
