"""VLMEvalKit beside us: our responses as its prediction files, and its verdicts beside ours.

It is never imported here: importing it turns TLS verification off for the whole process and needs
packages in versions of its own. Its scorer runs in an interpreter that the user names.
"""
