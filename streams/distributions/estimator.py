"""The conventions of scikit-learn's estimators, without depending on it."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from streams.distributions.errors import NotFittedError

Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """Parameters are the arguments of ``__init__``, kept under their names; what is learned ends in an underscore.

    ``sklearn.base.clone`` copies such an estimator unfitted, and its state is plain arrays, so that it pickles.
    """

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Return the parameters by name; ``deep`` is accepted, as no parameter is an estimator."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self: Self, **parameters: Any) -> Self:
        """Set parameters by name and return self.

        Raises:
            ValueError: there is no such parameter.
        """
        for name, value in parameters.items():
            if name not in self._parameters():
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}")
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn, which alone asks, what this is: cross-validation and grid search need to know."""
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=False, multi_output=True),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(),
        )

    def __repr__(self) -> str:
        stated = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({stated})"

    def _require(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            raise NotFittedError(
                f"this {type(self).__name__} has seen no data; call fit or partial_fit first"
            )
