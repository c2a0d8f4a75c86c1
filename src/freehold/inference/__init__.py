"""Engines that run models, each behind the interface in :mod:`freehold.inference.interface`."""
