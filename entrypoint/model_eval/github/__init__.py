"""What GitHub is told: workflow commands, the step's files, and one comment on the pull request.

`comment` is imported where it is used: the client library costs start-up time.
"""
