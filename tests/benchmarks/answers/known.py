"""What is still judged otherwise than the corpus says, and why: shown in the documentation.

Each is a row by its gold and its response. A row that is judged right leaves the list.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[tuple[str, str], ...]] = {
    "It says this of another thing than is asked for, or of several: only a parser would tell.": (
        ("B", "The owls would increase."),
        (r"35^{\circ}", "The angle ABC is 35° and the angle BAC is 60°."),
        ("15", "The coat costs $15 and the shirt $20."),
        ("C", "Five pupils took part."),
        ("C", "The chart shows 5 bars."),
        ("12", "The number 12 is written in the figure."),
        ("12", "There is a 12 beside the triangle."),
        ("12", "The side of the triangle is 12 cm."),
        ("12", "The figure has 12 lines and 10 triangles."),
        ("12", "12 lines form 10 triangles."),
        ("17", "He has 17 red marbles."),
        ("17", "He has 17 red and 12 blue marbles."),
        ("-4", "-4 at noon, and at midnight -9."),
        (r"2\sqrt{3}", r"$2\sqrt{3}$ is the height; AB is 4."),
        (r"2\sqrt{3}", r"The perimeter is $2\sqrt{3}$."),
    ),
    "A sentence of the question's own numbers, which says nothing new or what is false.": (
        ("5", "There are 4 pieces of 5 m."),
        ("5", "4 pieces of 5 m make 20 m."),
        ("7", "7 is smaller than 5."),
    ),
    "The answer stands before another number that only explains it.": (
        ("7", "7 is greater than 5 by 2."),
        ("60", "It must be 60: 15, 30, 60."),
    ),
    "A sum that is not worked out has a value.": (("17", "5 + 12"),),
    "A number is compared without its unit, as the owners of MathVista do.": (("15", "15 cents"),),
    "A name before a point is taken for a part of it.": (
        ("(2, -1)", "P(2, -1)"),
        ("(2, -1)", "$P(2,-1)$"),
        ("(2, -1)", r"\boxed{P(2, -1)}"),
        ("(2, -1)", "P: (2, -1)"),
    ),
    "What stands before the last equals sign is no name.": (
        ("x^2+2x-3", "(x+3)(x-1) = x^2+2x-3"),
        ("3:4", "6:8 = 3:4"),
    ),
    "A time of day is compared as a ratio.": (
        ("10:30", "10:30 am"),
        ("10:30", "10:30 a.m."),
        ("10:30", r"\boxed{10:30\text{ AM}}"),
        ("10:30", "1/3"),
        ("10:30", r"\boxed{\frac{1}{3}}"),
        ("10:30", "1:3"),
    ),
}
