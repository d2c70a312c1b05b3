"What Sphinx is told; .ci/docs.py lays out what it reads."
import re

from docutils.nodes import SkipNode
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

project, author, copyright = "causal_prompts", "The causal_prompts developers", "the causal_prompts developers"
extensions = ["myst_nb"]
exclude_patterns = [".doctrees", "**/.ipynb_checkpoints"]
nb_execution_mode = "off" # stored outputs are real; nothing is run
nb_render_markdown_format = "gfm" # tables in outputs
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type", "misc.highlighting_failure"]
toc_object_entries_show_parents = "hide"
add_module_names = False
html_theme = "pydata_sphinx_theme"
html_title = "causal_prompts"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_show_sourcelink = html_copy_source = False
html_theme_options = dict(navbar_persistent=["search-button-field"], navbar_end=["theme-switcher"], show_prev_next=True, header_links_before_dropdown=7,
                          show_toc_level=2, footer_start=[], footer_end=[], pygments_light_style="tango", pygments_dark_style="github-dark")
html_context = dict(default_mode="auto")
html_sidebars = {"index": [], "docs/glossary": []}


SIZES = re.compile(r"\\[Bb]igg?[lr]?(?![A-Za-z])") # of brackets; MathML stretches them by itself


def as_mathml(text: str, block: bool) -> str:
    "MathML, which browsers draw without a script: formulas are there without a network."
    try: return latex2mathml.tex2mathml(SIZES.sub("", text), as_block=block)
    except MathError as error: logging.getLogger(__name__).warning("formula %r: %s", text, error)
    return f"<code>{text}</code>"


def drawn(block: bool):
    "What Sphinx calls at a formula."
    def visit(translator, node):
        made = as_mathml(node.astext(), block)
        translator.body.append(f'<div class="math">{made}</div>' if block else made)
        raise SkipNode
    return visit, None


html_math_renderer = "mathml"


def setup(app): app.add_html_math_renderer("mathml", drawn(False), drawn(True))
