"""What the agent does not bring into memory: there is one on each host."""

import subprocess
import sys

HEAVY = ("eventlet", "jinja2", "oslo_middleware", "psutil", "pyroute2.ndb", "pyroute2.ipdb", "sqlalchemy", "openstack")
_PROGRAM = """
import sys
import isthmus.cli.main, isthmus.cli.services
import isthmus.networking.services.agent
import isthmus.networking.binding.ovs, isthmus.networking.binding.bridge, isthmus.networking.binding.nested
import isthmus.networking.cni.application, isthmus.networking.libnetwork.application
print(*sorted(set(sys.argv[1:]) & set(sys.modules)))
import pyroute2
print(pyroute2.NDB.__name__)
"""


def test_the_agent_imports_nothing_heavy_and_leaves_whole_libraries_to_others() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *HEAVY], capture_output=True, text=True, check=True)
    heavy, whole = done.stdout.splitlines()
    assert heavy == ""
    assert whole == "NDB"
