"""`hffkit audit`: check whether corpora are fair, and whether a score on them is real."""

from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.check import AuditCheck, Measured
from hffkit.audit.outcomes import AuditResult, Outcome, result_of
from hffkit.audit.table import CHECKS
from hffkit.errors import HffkitError
from hffkit.options import check


def audit(request: AuditRequest, *, n_workers: int) -> AuditResult:
    """Run every check of the table on corpora, treated as one.

    A check that cannot be done, such as a leakage score of a single class, is reported with the
    reason, and the others are done. The result depends on the corpora, the request and the
    versions of libraries, and not on the number of workers.

    Raises
    ------
    HffkitError
        If a corpus or the run cannot be opened at all.
    """
    check(request)
    data = Audited(request, n_workers)
    checks = [each for each in CHECKS.values() if request.run is not None or not each.needs_run]
    return result_of(data, [_outcome(check, data) for check in checks])


def _outcome(check: AuditCheck[Measured], data: Audited) -> Outcome:
    try:
        measured = check.measure(data)
    except HffkitError as error:
        return Outcome(check.name, check.title, check.area, (), None, str(error))
    return Outcome(check.name, check.title, check.area, tuple(check.judge(measured)), measured)
