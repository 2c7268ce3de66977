"""Caches of functions (`functools.lru_cache`): they hold what these were called with, and what they gave."""

import gc
from functools import lru_cache
from typing import Any

from torch import nn

_CACHED = type(lru_cache(lambda: None))


def forget_all() -> None:
    """Empties every cache."""
    for cache in _caches():
        if cache.cache_info().currsize:
            cache.cache_clear()


def forget_models() -> None:
    """Empties every cache of a function that was called with a module.

    That of a method is its class's, and has the models that it was called on in its keys. From
    another model of the class these would be found, with weights that are not that one's. To be
    called before that is built, so that whatever it puts into a cache itself is found.
    """
    for cache in _caches():
        if _knows_module(cache):
            cache.cache_clear()


def _caches() -> list[Any]:
    # By type, not isinstance: asking a stranger's proxy for its class may run code.
    return [thing for thing in gc.get_objects() if type(thing) is _CACHED]


def _knows_module(cache: object) -> bool:
    """Whether an argument of a call is one; keys are the arguments of the calls, in tuples."""
    return any(
        issubclass(type(part), nn.Module)
        for held in gc.get_referents(cache)
        if type(held) is dict
        for key in list(held)
        if type(key) is tuple
        for part in key
    )
