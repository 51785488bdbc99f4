"""Bodies as models: for the APIs that check them with pydantic. What has no such bodies is spared its 6 MiB."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from isthmus.control.errors import InvalidInput

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], value: object, what: str) -> Model:
    """Return `value` as a model; `InvalidInput` names each wrong key, never a value, which may be a secret."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        complaints = [
            f"{'.'.join([what, *map(str, detail['loc'])])}: {detail['msg']}"
            for detail in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise InvalidInput("; ".join(complaints)) from None
