"""Shapes in the library's signatures are checked in every test."""

from jaxtyping import install_import_hook

hook = install_import_hook("fourlenses", "beartype.beartype")
