"""Counts cases of a suite: a case passes, fails with a sentence, or is skipped with a reason. Nothing is silent."""
import sys
import time
import traceback


class Skip(Exception):
    pass


class Counter:
    def __init__(self, suite):
        self.suite, self.passed, self.failed, self.skipped = suite, 0, 0, 0

    def case(self, name, function, *args):
        """Runs one case. AssertionError and every other exception is a failure; Skip is not."""
        start = time.monotonic()
        try:
            function(*args)
        except Skip as reason:
            self.skipped += 1
            print(f"SKIPPED {self.suite}: {name}: {reason}", flush=True)
            return False
        except Exception as error:  # a test must not take the rest with it
            self.failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAILED {self.suite}: {name}: {type(error).__name__}: {error} "
                  f"({where.filename.rsplit('/', 1)[-1]}:{where.lineno})", flush=True)
            return False
        self.passed += 1
        print(f"ok {self.suite}: {name} ({time.monotonic() - start:.1f} s)", flush=True)
        return True

    def add(self, passed, failed, skipped):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def finish(self):
        """Prints the closing line; ends the process."""
        print(f"suite {self.suite}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed else 0)


def equal(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)
