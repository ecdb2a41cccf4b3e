"""Policies: what is excused, and an excuse that nothing needs."""

from deploy_policy import EXCEPTIONS, Finding, faults


def finding(check: str) -> Finding:
    return Finding(check, "Image should use digest", "Deployment.shelf", "dev.yaml")


def test_what_is_not_excused_is_a_fault() -> None:
    excused = [finding(check) for check in EXCEPTIONS]
    assert faults(excused) == []
    (fault,) = faults([*excused, finding("CKV_K8S_0")])
    assert fault == "dev.yaml: Deployment.shelf: Image should use digest (CKV_K8S_0)"


def test_an_exception_for_nothing_is_a_fault() -> None:
    first, *others = EXCEPTIONS
    (fault,) = faults([finding(check) for check in others])
    assert first in fault
