"""How one test is named: short, without the package in front and the attributes behind.

`manila_tempest_tests.tests.api.admin.test_quotas.QuotasTest.test_x_1_2_40[api,id-…,positive]` is
`admin.test_quotas.QuotasTest.test_x_1_2_40`; a class that did not come up at all is
`admin.test_quotas.QuotasTest.setUpClass`.
"""

import re

PACKAGE = "manila_tempest_tests.tests.api."
_CLASS_FIXTURE = re.compile(r"(setUpClass|tearDownClass) \((.*)\)")


def short(test_id: str) -> str:
    """Return the short name of a test, or of what was done for a whole class."""
    fixture = _CLASS_FIXTURE.fullmatch(test_id)
    name = f"{fixture[2]}.{fixture[1]}" if fixture else test_id.partition("[")[0]
    return name.removeprefix(PACKAGE)


def class_of(name: str) -> str:
    """Return `module.Class` of a short name."""
    return name.rpartition(".")[0]


def module_of(name: str) -> str:
    """Return the module of a short name."""
    return class_of(name).rpartition(".")[0]
