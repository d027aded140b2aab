"""The exporters under the names of nbconvert's command line: ``--to report-pdf``.

The same exporters are called ``report_pdf`` in JupyterLab's menu, whose addresses hold no hyphen.
"""

from labreport.export.docx import ReportDocxExporter
from labreport.export.html import ReportHTMLExporter
from labreport.export.pdf import ReportPDFExporter


class HyphenatedHTML(ReportHTMLExporter):
    """``report-html``."""

    hyphenated = True


class HyphenatedPDF(ReportPDFExporter):
    """``report-pdf``."""

    hyphenated = True


class HyphenatedDocx(ReportDocxExporter):
    """``report-docx``."""

    hyphenated = True
