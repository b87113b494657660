"""The entrypoint of a Python module's runtime: the official library serves one function call.

What fails is reported by `rondel_errors`, which is imported only then.
"""

import logging
import sys
import typing

from dagger.mod.cli import app, load_module

LEAVES = {str: str, bool: bool, int: int, float: (int, float)}


class Runtime:
    """The module, as `app` serves it."""

    async def serve(self):
        try:
            module = load_module()
            module.get_structured_result = checked(module.get_structured_result)
            return await module.serve()
        except Exception as error:
            import rondel_errors

            return await rondel_errors.report(error)
        except SystemExit as exit:
            import rondel_errors

            rondel_errors.show_exit(exit)
            raise


def checked(call):
    """Calls a function, and refuses a result that the engine would refuse: here its place is known."""

    async def get_structured_result(*args):
        result, function = await call(*args)
        if not fits(result, function.return_type):
            import rondel_errors

            raise rondel_errors.WrongResultError(function, result)
        return result, function

    return get_structured_result


def fits(value, hint) -> bool:
    """Whether a value may be of a type. Only types with one form in JSON are looked at."""
    if typing.get_origin(hint) is list and isinstance(value, (list, tuple)):
        return all(fits(item, typing.get_args(hint)[0]) for item in value)
    if not isinstance(hint, type) or hint not in LEAVES:
        return True
    return isinstance(value, LEAVES[hint]) and (hint is bool or not isinstance(value, bool))


if __name__ == "__main__":
    # The library logs each exception with the frames of its own code.
    logging.getLogger("dagger.mod").addFilter(lambda record: not record.exc_info)
    sys.exit(app(Runtime()))
