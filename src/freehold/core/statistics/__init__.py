"""Intervals, paired tests and power: what stands behind a verdict (see docs/evidence.md)."""

from freehold.core.statistics.interval import Groups, Interval
from freehold.core.statistics.labels import macro_f1
from freehold.core.statistics.looks import alpha_of_look, level_of_look
from freehold.core.statistics.means import mean_interval, row_variance, share_interval, wilson
from freehold.core.statistics.multiple import holm
from freehold.core.statistics.pairs import PairedDifference, p_text, paired
from freehold.core.statistics.power import detectable, rows_for_power, rows_to_differ
from freehold.core.statistics.quantiles import quantile_interval, waits_needed

__all__ = [
    "Groups",
    "Interval",
    "PairedDifference",
    "alpha_of_look",
    "detectable",
    "holm",
    "level_of_look",
    "macro_f1",
    "mean_interval",
    "p_text",
    "paired",
    "quantile_interval",
    "row_variance",
    "rows_for_power",
    "rows_to_differ",
    "share_interval",
    "waits_needed",
    "wilson",
]
