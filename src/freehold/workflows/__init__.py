"""One file per verb: the steps of a verb and what guards it, for the command line, the API and the pages
alike.
"""
