"""The measures: functions from traces, circuits and models to a Result, a tidy table with intervals and its figure.

Nothing here loads a model from disk or knows a screen, and `probe` never imports it.
"""
