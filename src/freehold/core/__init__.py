"""What every part stands on: errors, files, limits, progress, this machine. Imports nothing of Freehold above
it.
"""
