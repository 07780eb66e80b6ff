"""``python -m training.engine``: one run specification on standard input, events on standard output.

Exit codes: 0 done; 75 stopped on request, with a checkpoint where there was something to save; 1 failed, with an
``error`` event; 2 the input is not a usable specification, with an ``error`` event too. By hand::

    python -m training.engine < request.json > events.jsonl
"""

import os
import sys
import traceback

from training.engine import process
from training.engine.events import EventStream, take_over_stdout
from training.engine.failures import EngineError, Stopped, explain
from training.engine.spec import EXIT_BAD_SPEC, EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, SpecError, read_request
from training.engine.stopping import StopSignal


def _fail(events: EventStream, error: EngineError) -> None:
    events.emit("error", code=error.code, message=error.message, advice=error.advice, retryable=error.retryable)


def main() -> int:
    """Run what standard input asks for and return the exit code."""
    events = take_over_stdout()
    process.die_with_parent()
    process.lead_a_group()
    process.prepare_libraries()
    stop = StopSignal()
    try:
        stop.install()
        try:
            spec, placement = read_request(sys.stdin.read())
        except (SpecError, UnicodeDecodeError) as error:
            raise EngineError("bad_spec", str(error), "Correct the specification and submit it again.") from error
        # Imported here so that a bad specification is refused before anything heavy is loaded.
        from training.engine.run import execute

        execute(spec, placement, events, stop)
    except Stopped:
        events.log("The run was stopped on request; it can continue from its last checkpoint.", "warning")
        return EXIT_STOPPED
    except BrokenPipeError:
        # Nobody listens any more; there is no one left to tell.
        return EXIT_FAILED
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        failure = explain(error)
        _fail(events, failure)
        return EXIT_BAD_SPEC if failure.code == "bad_spec" else EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of native libraries may abort while the interpreter is taken down; everything is on disk by now.
    os._exit(code)
