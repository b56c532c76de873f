# SPDX-License-Identifier: BSD-2-Clause
"""A picture of pixels, lines and a few letters, written as PNG."""
import struct
import zlib

# 5 x 7 dots a letter; a number a row, the lowest bit is the right column
LETTERS = {
    "0": (14, 17, 19, 21, 25, 17, 14), "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 6, 8, 16, 31),
    "3": (14, 17, 1, 6, 1, 17, 14), "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (14, 16, 16, 30, 17, 17, 14), "7": (31, 1, 2, 4, 4, 8, 8), "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 1, 14), "A": (4, 10, 17, 17, 31, 17, 17), "B": (30, 17, 17, 30, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31), "F": (31, 16, 16, 30, 16, 16, 16), "G": (14, 17, 16, 23, 17, 17, 14),
    "I": (14, 4, 4, 4, 4, 4, 14), "L": (16, 16, 16, 16, 16, 16, 31), "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 25, 21, 19, 19, 17), "P": (30, 17, 17, 30, 16, 16, 16), "T": (31, 4, 4, 4, 4, 4, 4),
    "W": (17, 17, 17, 21, 21, 27, 17), "a": (0, 0, 14, 1, 15, 17, 15), "b": (16, 16, 30, 17, 17, 17, 30),
    "c": (0, 0, 14, 17, 16, 17, 14), "d": (1, 1, 15, 17, 17, 17, 15), "e": (0, 0, 14, 17, 31, 16, 14),
    "h": (16, 16, 30, 17, 17, 17, 17), "i": (4, 0, 12, 4, 4, 4, 14), "k": (16, 16, 18, 20, 24, 20, 18),
    "l": (12, 4, 4, 4, 4, 4, 14), "m": (0, 0, 26, 21, 21, 21, 21), "n": (0, 0, 30, 17, 17, 17, 17),
    "o": (0, 0, 14, 17, 17, 17, 14), "r": (0, 0, 22, 25, 16, 16, 16), "s": (0, 0, 15, 16, 14, 1, 30),
    "t": (8, 8, 30, 8, 8, 9, 6), "v": (0, 0, 17, 17, 17, 10, 4), "y": (0, 0, 17, 17, 15, 1, 14),
    "C": (14, 17, 16, 16, 16, 17, 14), "D": (30, 17, 17, 17, 17, 17, 30), "H": (17, 17, 17, 31, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14), "R": (30, 17, 17, 30, 20, 18, 17), "S": (15, 16, 16, 14, 1, 1, 30),
    "U": (17, 17, 17, 17, 17, 17, 14), "V": (17, 17, 17, 17, 17, 10, 4), "X": (17, 17, 10, 4, 10, 17, 17),
    "f": (6, 8, 8, 28, 8, 8, 8), "g": (0, 0, 15, 17, 15, 1, 14), "j": (2, 0, 2, 2, 2, 18, 12),
    "p": (0, 0, 30, 17, 30, 16, 16), "q": (0, 0, 15, 17, 15, 1, 1), "u": (0, 0, 17, 17, 17, 17, 15),
    "w": (0, 0, 17, 17, 21, 21, 10), "x": (0, 0, 17, 10, 4, 10, 17), "z": (0, 0, 31, 2, 4, 8, 31),
    "%": (24, 25, 2, 4, 8, 19, 3),
    "-": (0, 0, 0, 14, 0, 0, 0), "/": (1, 1, 2, 4, 8, 16, 16), ".": (0, 0, 0, 0, 0, 12, 12),
    ",": (0, 0, 0, 0, 12, 4, 8), " ": (0, 0, 0, 0, 0, 0, 0),
}


class Picture:
    """Colours are (red, green, blue); what is drawn outside is cut off."""

    def __init__(self, width, height, background=(255, 255, 255)):
        self.width, self.height = width, height
        self.rows = [bytearray(bytes(background) * width) for _ in range(height)]

    def box(self, x, y, width, height, colour):
        left, right = max(0, x), min(self.width, x + width)
        if right > left:
            for row in self.rows[max(0, y):max(0, y + height)]:
                row[3 * left:3 * right] = bytes(colour) * (right - left)

    def text(self, x, y, text, colour=(60, 60, 60), scale=2):
        """Its upper left corner is at x, y."""
        for letter in text:
            for j, bits in enumerate(LETTERS[letter]):
                for i in range(5):
                    if bits >> (4 - i) & 1:
                        self.box(x + i * scale, y + j * scale, scale, scale, colour)
            x += 6 * scale

    @staticmethod
    def text_width(text, scale=2):
        return (6 * len(text) - 1) * scale

    def write(self, path):
        def chunk(kind, data):
            return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

        with open(path, "wb") as f:
            f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack("!IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)))
            f.write(chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(r) for r in self.rows), 9)) + chunk(b"IEND", b""))
