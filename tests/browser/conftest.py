"""Browser tests: `bash scripts/test_browser.sh` runs them."""

import os

# The script sets the folder, after it has installed a browser.
if "SCREENSHOTS" not in os.environ:
  collect_ignore_glob = ["test_*.py"]
