"""How well a job classifies BANKING77, measured from outside: through the REST API of a running site."""
