"""The configuration: its models, how it is found, read, joined and checked.

`schema` has the models, `load` the way from a file to a valid `VoiceCallConfig`. Nothing is imported here, because the
plugin contract needs only `base`.
"""
