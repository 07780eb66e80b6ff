"""The door of the Hugging Face clients: models, base models and datasets as repositories that unmodified clients read.

What the clients send and need is not ours to choose; it was established by running them. What is: nothing is decided
here. A name is looked up through `visible_to`, a right is asked of the service that hands out the file, at the time of
the read, and that service records it. No answer is kept: what was published a second ago is there, what was revoked a
second ago is not.

`repos/` says what a name and a revision stand for, `files` sends bytes, `views` answers about repositories, `people`
says who is asking, `errors` speaks the clients' language of refusals, `urls` is the map.
"""
