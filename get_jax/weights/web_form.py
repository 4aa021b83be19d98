"""The form with which Google Drive confirms the download of a large file."""

import html.parser
from urllib.parse import urlencode, urljoin, urlsplit

FORM = "download-form"


def form_address(page: str, url: str) -> str | None:
  """Returns the address that a page's download form leads to.

  Args:
    page: HTML.
    url: address of the page.

  Returns:
    The address with the values of the form, or None if the page has no such
    form, or one that leaves the protocol of the page.
  """
  parser = _FormParser()
  try:
    parser.feed(page)
  except AssertionError:  # for a declaration that is none
    return None
  if parser.action is None:
    return None
  address = urljoin(url, parser.action)
  if urlsplit(address).scheme != urlsplit(url).scheme:
    return None
  return f"{address}?{urlencode(parser.values)}"


class _FormParser(html.parser.HTMLParser):
  """Collects the action and the hidden values of the form `FORM`."""

  def __init__(self) -> None:
    super().__init__()
    self.action: str | None = None
    self.values: dict[str, str] = {}
    self._inside = False

  def handle_starttag(
    self, tag: str, attrs: list[tuple[str, str | None]]
  ) -> None:
    """Reads <form> and the <input> elements in it."""
    values = dict(attrs)
    if tag == "form" and values.get("id") == FORM:
      self._inside, self.action = True, values.get("action") or ""
    elif tag == "input" and self._inside and values.get("name"):
      self.values[values["name"] or ""] = values.get("value") or ""

  def handle_endtag(self, tag: str) -> None:
    """Ends the form."""
    if tag == "form":
      self._inside = False
