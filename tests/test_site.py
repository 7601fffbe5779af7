"""The site: every link leads somewhere, nothing is loaded from elsewhere, a claim is judged as everywhere."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from hinas_nb import locations
from hinas_nb.evidence import paper_effects
from hinas_nb.reporting import site
from hinas_nb.reporting.wipe import opened, wipe

LEFT, RIGHT = np.zeros((20, 30)), np.ones((20, 30, 3))


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


def test_a_wipe_holds_both_pictures_and_is_moved_by_keys_too():
    page = wipe(LEFT, RIGHT, ("<noisy>", "restored"))
    below, above = pictures(page)
    assert (below.size, above.size) == ((30, 20), (30, 20))
    assert np.asarray(below.convert("L")).min() > 250 and np.asarray(above.convert("L")).max() < 5
    assert 'type="range"' in page and "&lt;noisy&gt;" in page and "http" not in page


def test_a_picture_is_opened_upright_and_cut_in_its_middle(tmp_path):
    pixels = np.zeros((8, 6, 3), np.uint8)
    pixels[2:6, 2:4] = 255  # the middle 4 x 2
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert opened(str(tmp_path / "a.png"), 100).shape == (6, 8, 3)
    middle = opened((tmp_path / "a.png").read_bytes(), 2)
    assert middle.shape == (2, 2, 3) and middle.min() == 1


@pytest.fixture
def front(tmp_path, monkeypatch):
    """The site as it is made of what is committed, but for the restored picture and the reference, which take long."""
    monkeypatch.delenv("HINAS_RESULTS", raising=False)
    monkeypatch.setattr(site, "_wiped", lambda: {"html": wipe(LEFT, RIGHT), "said": "made up"})
    monkeypatch.setattr(site, "_reference", lambda target: (target.mkdir(), (target / "hinas_nb.html").touch()))
    return site.write(tmp_path)


def test_every_link_leads_somewhere_and_nothing_is_loaded(front):
    for path in front.parent.rglob("*.html"):
        page = path.read_text()
        assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', page)
        for address in re.findall(r'(?:href|src)="((?!https?:|data:|#|mailto:)[^"#]+)', page):
            assert path.parent.joinpath(address).is_file() or path != front, address


def test_the_front_page_shows_what_was_found(front):
    page = front.read_text()
    for claim in paper_effects.load().claims.values():
        assert claim.claim in page.replace("&#39;", "'").replace("&gt;", ">")
    copies = [path.stem for path in (locations.results() / "laptop" / "executed").glob("*.ipynb")]
    assert copies and all(f'href="notebooks/{name}.html"' in page for name in copies)
    assert "figures/architecture." in page and 'class="wipe"' in page


def test_without_its_generator_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pdoc", None)
    with pytest.raises(ModuleNotFoundError) as error:
        site._reference(tmp_path)
    assert error.value.name == "pdoc"
