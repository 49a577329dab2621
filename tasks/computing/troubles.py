"""Errors of a call that are its host's: a full or read-only disk, no way to the store.

On one machine they end the run in a sentence, and so they do where they are the store's, or those
of the driver's own host. Any other host of a cluster is left out, and its calls are made elsewhere,
as long as there is one.
"""

import threading

from tasks.computing.failures import described
from tasks.computing.hosts import Host, is_here
from tasks.computing.staff import Staff
from tasks.computing.surveying import Needs
from tasks.plain_text import without_secrets
from tasks.storage.remote import DamagedError

OWN_SECONDS = 20.0  # for which this machine tries to read a store that a host has tried to for long


class Troubles:
    """Tells whose trouble the error of a call is, and leaves hosts out.

    Args:
        needs: What hosts must have; None where there are none beside this machine.
        staff: Has their workers.
    """

    def __init__(self, needs: Needs | None, staff: Staff) -> None:
        self.needs = needs
        self.staff = staff
        self._lock = threading.Lock()
        self._of_store = False

    def of_host(self, host: Host, error: Exception) -> str:
        """Why a host is left out for what a call raised there; empty where it is not.

        It is not for what else may be wrong with a call, nor where its error ends the run.

        Args:
            host: Of the worker.
            error: What its method raised.
        """
        if self.needs is None or is_here(host):
            return ""
        if not isinstance(error, OSError) or isinstance(error, DamagedError):
            return ""
        with self._lock:  # of all whom a store costs their calls at once, the first one asks for it
            if reason := self.staff.left_out(host):
                return reason
            self._of_store = self._of_store or bool(self.needs.trouble_with_store(OWN_SECONDS))
            if self._of_store:
                return ""
            reason = f"it cannot go on: {without_secrets(described(error)).rstrip('. ')}."
            if self.staff.dismiss(host, reason):
                return reason
            self.staff.fail(error)  # else whoever waits for a worker would for long
            return ""
