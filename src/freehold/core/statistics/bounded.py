"""Bounds for the mean of numbers between 0 and 1.

The bound of Gaffke (2005), studied by Learned-Miller and Thomas (2019): the lower bound at error alpha is the
alpha-quantile of ``D_0 * 0 + D_1 * x_1 + ... + D_n * x_n`` where D is uniform over all weights that sum to 1.
For zeros and ones it *is* Clopper and Pearson's exact bound, so one method serves both and 19 perfect answers
with one of 0.98 are next to 20 perfect ones. No library has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv

#: Points of the numerical integral, for few rows (whose tails are powers) and for many (whose tails are a
#: bell's).
_POINTS_FEW, _POINTS_MANY, _MANY = 400, 80, 60


def lower_bound(values: np.ndarray, alpha: float, counts: np.ndarray | None = None) -> float:
    """Lower bound of the mean of ``values`` (0 to 1) at one-sided error ``alpha``; 0 for no rows.

    ``counts``: how many rows have each value; 1 by default.
    """
    values, shapes = _distinct(values, counts)
    if len(values) == 0 or values[-1] == 0.0:
        return 0.0
    if np.isin(values, (0.0, 1.0)).all():
        ones = float(shapes[values == 1.0].sum())
        return float(betaincinv(ones, shapes.sum() - ones + 1.0, alpha))
    return _solve(lambda mean: _at_most(values, shapes, mean) - alpha, float(values[-1]))


def upper_bound(values: np.ndarray, alpha: float, counts: np.ndarray | None = None) -> float:
    """Upper bound of the mean of ``values`` (0 to 1) at one-sided error ``alpha``; 1 for no rows."""
    return 1.0 - lower_bound(1.0 - np.asarray(values, dtype=float), alpha, counts)


def error_of(values: np.ndarray, mean: float) -> float:
    """The smallest error at which :func:`lower_bound` is above ``mean``.

    A one-sided p-value that the mean is at most that.
    """
    distinct, shapes = _distinct(values, None)
    return _at_most(distinct, shapes, mean) if len(distinct) else 1.0


def lower_bound_of_groups(sums: np.ndarray, sizes: np.ndarray, alpha: float) -> float:
    """Lower bound of the mean of all rows' values (0 to 1) where only whole groups are independent.

    ``sums``, ``sizes``: (groups,) sum of the values and number of rows of each group. The unseen group, all
    zeros, is as large as :func:`unseen_rows` says.
    """
    best = float((sums / sizes).max())
    return _solve(lambda mean: error_of_groups(sums, sizes, mean) - alpha, best) if best > 0 else 0.0


def upper_bound_of_groups(sums: np.ndarray, sizes: np.ndarray, alpha: float) -> float:
    """Upper bound, as :func:`lower_bound_of_groups`."""
    return 1.0 - lower_bound_of_groups(sizes - sums, sizes, alpha)


def error_of_groups(sums: np.ndarray, sizes: np.ndarray, mean: float) -> float:
    """As :func:`error_of`, for groups."""
    gains = np.concatenate((sums - mean * sizes, [-mean * unseen_rows(sizes)]))
    return _below(gains, np.ones(len(gains)))


def unseen_rows(sizes: np.ndarray) -> float:
    """Rows of the group that might have been there: as many as the group of a mean row has.

    By simulation: one of the mean group's size is too small where few large groups hold most rows.
    """
    return float((sizes**2).sum() / sizes.sum())


def _distinct(values: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values in order, and how many rows have each."""
    values = np.asarray(values, dtype=float)
    distinct, inverse = np.unique(values, return_inverse=True)
    shapes = np.bincount(inverse, weights=counts, minlength=len(distinct)).astype(float)
    return distinct[shapes > 0], shapes[shapes > 0]


def _at_most(values: np.ndarray, shapes: np.ndarray, mean: float) -> float:
    """P(the randomly weighted mean of the values and one more 0 is at most ``mean``)."""
    return _below(np.concatenate(([0.0], values)) - mean, np.concatenate(([1.0], shapes)))


def _solve(excess: Callable[[float], float], top: float) -> float:
    """Where ``excess`` changes sign between 0 and ``top``."""
    root: Any = brentq(excess, 1e-12, top - 1e-12, xtol=1e-10)
    return float(root)


def _below(gains: np.ndarray, shapes: np.ndarray) -> float:
    """P(sum of gains_i * G_i <= 0) for independent gamma variables G_i of the given shapes.

    The inversion integral of the moment generating function along the vertical line through its saddlepoint,
    where the integrand falls off without turning; exact up to the rule's error (about 1e-9).
    """
    most, least = gains.max(), gains.min()
    if least >= 0:
        return 0.0
    if most <= 0:
        return 1.0
    low, high = (1 - 1e-12) / least, (1 - 1e-12) / most

    def slope(s: float) -> float:
        return float((shapes * gains / (1 - gains * s)).sum())

    root: Any = brentq(slope, low, high, xtol=1e-13)
    saddle = float(root)
    # the line must not run through the pole at 0: step to the side that keeps it on one side of both
    scale = 1.0 / np.sqrt((shapes * (gains / (1 - gains * saddle)) ** 2).sum())
    if abs(saddle) < 0.1 * scale:
        saddle = min(0.3 * scale, 0.5 * high)
    # t = scale * sinh(u): fine near the peak, far enough out for few rows, whose tails are powers
    many = shapes.sum() >= _MANY
    u = np.linspace(0.0, 3.6 if many else 12.0, _POINTS_MANY if many else _POINTS_FEW)
    t = scale * np.sinh(u)
    s = saddle + 1j * t
    log = -(shapes[:, None] * np.log1p(-gains[:, None] * s[None, :])).sum(axis=0)
    integrand = (np.exp(log) / s).real * scale * np.cosh(u)
    area = float(np.trapezoid(integrand, u)) / np.pi
    return 1.0 - area if saddle > 0 else -area
