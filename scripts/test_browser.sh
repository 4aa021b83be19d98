#!/usr/bin/env bash
# Tests the page of --mode=demo in Chromium, with real clicks:
#   bash scripts/test_browser.sh [pytest arguments]
# CHROMIUM is the browser (/usr/bin/chromium; Debian's is installed if it does not
# exist), SCREENSHOTS the folder of the screenshots (build/screenshots).
EXTRAS=test
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
export CHROMIUM="${CHROMIUM:-/usr/bin/chromium}"
export SCREENSHOTS="${SCREENSHOTS:-build/screenshots}"
if [ ! -x "$CHROMIUM" ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "$CHROMIUM does not exist; install Chromium, or set CHROMIUM to its" \
      "path" >&2
    exit 2
  fi
  echo "Installing Chromium (once) ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
    chromium > /dev/null
fi
echo "Testing the demo in $CHROMIUM; screenshots go to $SCREENSHOTS ..."
"$VENV/bin/python" -m pytest -vv tests/browser "$@"
