"""What one execution leaves on disk and on the screen; only recipes and the command line use this room.

Members: `folder` (the run folder), `checkpoint` (a file no kill can damage), `atomic` (replacing files),
`config` (settings as YAML and back), `environment` (where the run ran), `console` (progress and tables).
"""
