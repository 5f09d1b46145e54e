"""Devices and processes: where every array lies."""
