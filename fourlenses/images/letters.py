"""The letters A to J in the fonts that matplotlib ships: letters as notMNIST has them, without a download."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

from fourlenses.images.classes import LETTERS
from fourlenses.images.dataset import Bar, Images
from fourlenses.images.sources import File, Package

SIDE = 28  # pixels
FINE = 8  # dots a pixel, in either direction, from which it is averaged
VARIANTS = 10  # images of a letter in a font
EM, SHIFT, TURN = (20, 28), 2, 15  # size in pixels, and how far at most it lies off the centre and is turned in degrees
FONTS = {  # that matplotlib ships, without those of symbols: SHA-256
    "DejaVuSans-Bold.ttf": "b184b89e3c1075f22f6b71575b6fc20d4972b3cfd3b23322ca6fd596dcaef167",
    "DejaVuSans-BoldOblique.ttf": "6edf0283160186af451cbee71e7b845f2e4cabf264bb992ce668c83c25465e6f",
    "DejaVuSans-Oblique.ttf": "ccdf74b350f11fd3dd5774de50e5e6346a1a5da1f5b7d5fb83590665e97a5213",
    "DejaVuSans.ttf": "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22",
    "DejaVuSansMono-Bold.ttf": "baada9a5172fe20886251aff0433fc38461912d5daf07287e7bee56620a8da96",
    "DejaVuSansMono-BoldOblique.ttf": "a69081c15c76c827e0a27a5a7f5c74b6135c843499955495ffa8c20d3a98288b",
    "DejaVuSansMono-Oblique.ttf": "28052813f7a709fc89f52d192dc995ef4f0fdc5c3d7b73a49d6849b1916d0cd0",
    "DejaVuSansMono.ttf": "602ec86b8948cfcd956482fe64f94c36c867770149ef2f791d4613f443bcecb3",
    "DejaVuSerif-Bold.ttf": "c3753f2ed6bc673f15846dc45addbeb3b9c872f32fb18fd53a21f1bef1ed7676",
    "DejaVuSerif-BoldItalic.ttf": "d93efec7a9d2e826768d1a2ee95b95870e15e29599a84f3484af1de1cec2e181",
    "DejaVuSerif-Italic.ttf": "3e7994fbc54fa10ce3352a42d548fadd7d9cadb69cb1109bc9d960f6dac57f04",
    "DejaVuSerif.ttf": "107244956e9962b9e96faccdc551825e0ae0898ae13737133e1b921a2fd35ffa",
    "STIXGeneral.ttf": "167378031e2dddc6216d67819c9260e9a06ffc4c478e4e23cb98a6fd44b183c2",
    "STIXGeneralBol.ttf": "e8533dc7083fa346bda1933d60ea4a83b67d0945bceaf1b3541f82b4a0e2c6a0",
    "STIXGeneralBolIta.ttf": "98788fd4ba48dfbb2bd026c0e20a247a8b06c7372879628b7a6bb0d5bb09736c",
    "STIXGeneralItalic.ttf": "6cfcb333d22b7c3c623bdfd40174f14c85c3d6731ca6166c1edc80140eae8527",
    "cmb10.ttf": "074497b50c43ea57597181591f9893d38fc12a87e95104f5657fc2481f61a23a",
    "cmmi10.ttf": "3092965b8811fd6a6765799664845181fc1dd1330b937f915808c485d316234d",
    "cmr10.ttf": "4dd9761b058c009db9b2145f55ee6617d093c273dd3d6c5b3e43ff6110fa9bf6",
    "cmss10.ttf": "7df91a83d05b2e471ec638cb0b435a360a3c792b09fc42a7da67e91f2e79115a",
    "cmti10.ttf": "f9f1f9f654308ae82f7be4441ae89b080896b34cc220bbea173c5e9adcfe3ef7",
    "cmtt10.ttf": "6211f09ae93599991afda970c24669dad1a77e253d915624fbf212f702f071d7",
}
SOURCE = Package("matplotlib", "matplotlib", tuple(File(f"mpl-data/fonts/ttf/{n}", FONTS[n]) for n in FONTS))
COUNT = len(FONTS) * len(LETTERS) * VARIANTS
DIGEST = "338bb03daebc1d987f87d24ee6f7f439c0c05adfce0a97a7ed479e8bb9a84355"


def decode_letters(contents: Mapping[str, bytes], bar: Bar) -> dict[str, Images]:
    """Every letter in every font, VARIANTS times: each of a size, a shift and a turn from a SHAKE-256 stream.

    The order is font, letter, variant; images are white on black.
    """
    stream = hashlib.shake_256(b"fourlenses letters").digest(4 * COUNT)
    draws = zip(*[iter(stream)] * 4, strict=True)  # four bytes an image
    glyphs = [
        _glyph(font, letter, *next(draws)) for font in bar(contents.values(), "letters") for letter in LETTERS
        for _ in range(VARIANTS)
    ]  # fmt: skip
    y = torch.arange(len(LETTERS)).repeat_interleave(VARIANTS).repeat(len(contents))
    return {"all": Images(torch.from_numpy(np.stack(glyphs))[:, None], y)}


def _glyph(font: bytes, letter: str, size: int, across: int, down: int, turn: int) -> UInt8[ndarray, "28 28"]:
    """One letter, its ink centred and then shifted and turned; the last four are bytes.

    Drawn on dots that are black or white, of which each pixel takes the mean: builds of FreeType differ in grey.
    """
    from PIL import Image, ImageDraw, ImageFont

    em = EM[0] * FINE + size % ((EM[1] - EM[0]) * FINE + 1)
    off_x, off_y = (each % (2 * SHIFT * FINE + 1) - SHIFT * FINE for each in (across, down))
    face = ImageFont.truetype(io.BytesIO(font), em, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getbbox(letter)
    corner = (SIDE * FINE - left - right) // 2 + off_x, (SIDE * FINE - top - bottom) // 2 + off_y
    canvas = Image.new("L", (SIDE * FINE, SIDE * FINE))
    ImageDraw.Draw(canvas).text(corner, letter, fill=255, font=face)
    dots = np.asarray(canvas.rotate(turn % (2 * TURN + 1) - TURN)) >= 128
    ink = dots.reshape(SIDE, FINE, SIDE, FINE).sum((1, 3))
    return (ink * 255 // FINE**2).astype(np.uint8)
