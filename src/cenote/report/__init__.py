"""The report of a diagnosis: one page that loads nothing from elsewhere, or Markdown. Reads records, knows no model."""

from cenote.report.markdown import to_markdown
from cenote.report.page import to_html

__all__ = ["to_html", "to_markdown"]
