"""manila-api for gunicorn, run by the peer's own Python; imports nothing of Isthmus.

Manila reads sys.argv, which is gunicorn's here: it is replaced first.
"""

import importlib
import os
import sys

sys.argv = ["manila-api", "--config-file", os.environ["MANILA_CONF"]]

application = importlib.import_module("manila.wsgi.api").application
