"""Controls beside a picture in a live notebook; one fixed picture where nobody can move them.

Notebooks `01_data_and_protocols`, `03_search_denoising` and `05_train_and_restore` end with them.
"""

import os
from collections.abc import Callable
from typing import Any


def explore(show: Callable[..., Any], **controls) -> Any:
    """Draw `show(name=value, ...)` again whenever one of the controls (ipywidgets) moves.

    In a batch it returns `show` of the controls' first values and makes no output widget: headless clients
    wait for it forever at times (nbconvert issue 2029), and a page without a kernel could not move it.
    """
    if "HINAS_PUBLISH" in os.environ:  # the batch tells its notebooks where to publish
        return show(**{name: control.value for name, control in controls.items()})
    from ipywidgets import interact

    interact(show, **controls)
    return None
