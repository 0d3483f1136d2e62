"""The exit statuses that are rxe-vm's own, and the errors that end in them."""

USAGE = 1
SKIPPED = 77  # No QEMU on this machine.
TIMED_OUT = 124  # As timeout(1) has it.
GUEST_FAILED = 125  # The guest's kernel: a panic, an oops, a hung task, or it stopped by itself.
NOT_STARTED = 126  # The guest could not be set up, or QEMU failed.
NOT_FOUND = 127  # As a shell has it: there is no such command.


class RxeVmError(Exception):
    """Ends rxe-vm with one line on stderr."""

    status = NOT_STARTED


class UsageError(RxeVmError):
    status = USAGE


class SetupError(RxeVmError):
    status = NOT_STARTED


class CommandNotFoundError(RxeVmError):
    status = NOT_FOUND


class NoQemuError(RxeVmError):
    status = SKIPPED
