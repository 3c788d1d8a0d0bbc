"""Instances of views, made of the examples that their own fields declare."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ModelT = TypeVar("ModelT", bound=BaseModel)

_PLAIN: dict[type, Any] = {str: "word", int: 3, float: 1.5, bool: True, Any: "anything"}


def example(model: type[ModelT], **named: Any) -> ModelT:
    """An instance of a view; what is named replaces the examples of those fields."""
    values = {
        name: named[name] if name in named else _field(field) for name, field in model.model_fields.items()
    }
    return model(**values)


def _field(field: FieldInfo) -> Any:
    if field.examples:
        return field.examples[0]
    return _value(field.annotation)


def _value(annotation: Any) -> Any:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        given = next(
            (each.examples for each in parts[1:] if isinstance(each, FieldInfo) and each.examples), None
        )
        return given[0] if given else _value(parts[0])
    if origin is Literal:
        return parts[0]
    if origin in {UnionType, Union}:
        return _value(next(part for part in parts if part is not NoneType))
    if origin is list:
        return [_value(parts[0])]
    if origin is dict:
        return {"name": _value(parts[1])}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return example(annotation)
    return _PLAIN[annotation]
