"""What OpenAI clients talk to: /v1, in their shapes, over published models and nothing else.

`callers` says who asks, `catalogue` which model is meant and whether it may be used now, `questions` what is asked for,
`answers` how it is said, `errors` how it is refused, and `views` joins them. A model's id is `team/name`, which means
its champion, or `team/name:alias`. What a caller may not see is not there (404). The caller's headers go no further.
"""
