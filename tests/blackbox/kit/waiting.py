"""The only waits of the suite: a bounded poll of a condition, and time that has to pass by itself.
"""

import threading
import time

# Nothing sets this event. Waiting for it is a pause.
_NEVER = threading.Event()


def eventually(condition, within: float = 20, what="the condition", every: float = 0.02):
    """Polls `condition` until it is true, and returns what it gave. Fails after `within` seconds.

    `what` names the condition in the failure. A function is called for its text when the wait fails.
    """
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {within} s in vain for {what() if callable(what) else what}")
        _NEVER.wait(every)
    return found


def let_time_pass(seconds: float) -> None:
    """For a test whose subject is time itself: a clock that has to move on, a random moment for a
    kill.
    """
    _NEVER.wait(seconds)
