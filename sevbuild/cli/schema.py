"""`sevbuild schema`: the JSON Schema of manifests."""

from __future__ import annotations

import sys

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""

    @app.command()
    def schema() -> None:
        """Print the JSON Schema of the manifest, for editors and checkers."""
        import json

        from sevbuild.manifest.schema import manifest_schema

        sys.stdout.write(json.dumps(manifest_schema(), indent=2) + "\n")
