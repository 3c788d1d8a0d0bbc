"""`openapi`: the document of the web API."""

import typer

from crypto_tracker import __version__
from crypto_tracker.app.cli.common import command, emit_json


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "openapi", examples=("openapi > openapi.json",))(openapi)


def openapi() -> None:
    """Write the OpenAPI document of the web API, from which clients are generated."""
    from crypto_tracker.desk.web.application import openapi_document

    emit_json(openapi_document(__version__))
