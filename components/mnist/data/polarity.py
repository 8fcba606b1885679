"""Which way round pictures are: light ink on a dark ground, as MNIST has it, or dark ink on a light one."""

import numpy as np

CLEAR = 2 / 3  # share of the pictures that must agree


def share_of_dark(images: np.ndarray) -> float | None:
    """Let each picture vote: a ground that is lighter than the picture on average means dark ink.

    The ground is the median of the two outermost rows and columns: ink that touches the border, or a photo's uneven
    light, does not change it.

    Args:
        images: uint8 (n, 28, 28), a sample spread over the whole source.

    Returns:
        Share of the pictures with dark ink, 0 to 1; None where no picture shows anything.
    """
    ring = np.ones(images.shape[1:], bool)
    ring[2:-2, 2:-2] = False
    ground = np.median(images[:, ring], axis=1)
    average = images.mean(axis=(1, 2))
    voting = ground != average
    return float((ground > average)[voting].mean()) if voting.any() else None


def judge(images: np.ndarray, polarity: str) -> tuple[bool, str]:
    """Decide whether pictures must be turned round.

    Args:
        images: uint8 (n, 28, 28), a sample spread over the whole source.
        polarity: `light` and `dark` are obeyed; `auto` looks at the pictures.

    Returns:
        Whether to turn, and a sentence for a person; an empty one where there is nothing to tell.
    """
    dark = share_of_dark(images)
    if polarity == "dark":
        doubt = dark is not None and dark < 1 - CLEAR
        return True, "Turned the pictures round, as polarity=dark asks" + (
            f", although {1 - dark:.0%} of them look like light ink already." if doubt and dark is not None else "."
        )
    if polarity == "light" or dark is None:
        doubt = dark is not None and dark > CLEAR
        return (
            False,
            f"Left the pictures as they are, as polarity=light asks, although {dark:.0%} look dark." if doubt else "",
        )
    if dark >= CLEAR:
        return (
            True,
            f"Turned dark ink on a light ground round ({dark:.0%} of the pictures look so); polarity=light keeps it.",
        )
    if dark > 1 - CLEAR:
        return False, (
            f"Which way round the ink is cannot be told ({dark:.0%} of the pictures look dark): left as it is; "
            "polarity=dark turns it round."
        )
    return False, ""
