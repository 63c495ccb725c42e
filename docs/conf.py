"""How Sphinx builds the site: Markdown pages by MyST, the reference from docstrings, nothing fetched."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.logging import getLogger
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from collections.abc import Callable

    from docutils.nodes import Element, Node
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = getLogger(__name__)

project = "lucid"
author = "the lucid developers"
version = release = installed_version("lucid-vae")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# ---- pages -----------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
myst_ref_domains = ["std", "py"]

# ---- docstrings ------------------------------------------------------------------------------------------------------

default_role = "code"  # docstrings write `x`, as the pages do
add_module_names = False
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_use_type_comments = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100

# A public name of ours that leads nowhere fails the build; other projects' names are shown without a link, because
# looking them up would need the network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!lucid\.).*"),
    (r"py:.*", r".*\._.*"),
    (r"py:.*", r"lucid\.distributions\.table\.Part"),
    # What a codec is made of inside.
    (r"py:.*", r"lucid\.codec\.(container|inputs|layout|network)\..*"),
]

# ---- the site --------------------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"lucid {version}"
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"


def _mathml(display: bool) -> Callable[[Any, Node], None]:
    """Browsers draw MathML themselves, so no page fetches a script for its formulas."""

    def visit(translator: Any, node: Node) -> None:
        try:
            formula = tex2mathml(node.astext(), as_block=display)
        except MathError as error:
            logger.warning("formula %r: %s", node.astext(), error, location=node)
            formula = ""
        translator.body.append(formula)
        raise SkipNode

    return visit


def _link_to_public_name(app: Sphinx, env: BuildEnvironment, node: Element, content: Element) -> Element | None:
    """An annotation names the file that defines a class; the reference documents it where users import it."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("lucid."):
        return None
    ending = "." + target.rsplit(".", 1)[-1]
    documented = env.domains["py"].objects
    found = [name for name in documented if name.startswith("lucid.") and name.endswith(ending)]
    if len(found) != 1:
        return None
    entry = documented[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, found[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_mathml(display=False), None), (_mathml(display=True), None))
    app.connect("missing-reference", _link_to_public_name)
