"""The method: bins, target encoders, decoder, objective and predictive distribution.

Torch and numpy alone. Nothing here knows of an engine, a file or a command.
"""
