"""Pictures with as much detail as a photo has, and the same with one defect each."""

import numpy as np
from PIL import Image, ImageFilter


def scene(seed=1, width=160, height=160):
    """Shapes of every size on a soft ground, with some grain: as much fine detail as a photo has."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    grey = 110 + 60 * np.sin(columns / 31 + seed) * np.cos(rows / 23)
    for _ in range(40):
        x, y, radius = generator.integers(width), generator.integers(height), generator.integers(2, 25)
        grey = np.where((columns - x) ** 2 + (rows - y) ** 2 < radius**2, generator.integers(20, 236), grey)
    colour = grey[:, :, None] * np.array([1.0, 0.95, 0.9]) + generator.normal(0, 4, (height, width, 3))
    return colour.clip(0, 255).astype(np.uint8)


def blurred(photo, radius):
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def squeezed(photo, low, high):
    return (low + photo.astype(float) / 255 * (high - low)).round().astype(np.uint8)


PLANTED = {
    "blurred": (blurred(scene(), 6), {"blurry", "blurry_fft"}),
    "dark": (squeezed(scene(), 0, 60), {"dark"}),
    "bright": (squeezed(scene(), 205, 255), {"bright"}),
    "pale": (squeezed(scene(), 110, 138), {"low_contrast"}),
    "tiny": (np.asarray(Image.fromarray(scene()).resize((24, 24), Image.Resampling.LANCZOS)), {"tiny"}),
    "long": (scene(width=400, height=130), {"odd_aspect"}),
}


def noisy_photos(root, count, brighter, side=32):
    """Draw noise, each photo brighter than the one before; return the files' names."""
    generator = np.random.default_rng(3)
    for number in range(count):
        pixels = np.clip(number * brighter + generator.normal(0, 20, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    return [f"{number}.png" for number in range(count)]
