import threading

import numpy as np

from minilm.tokenizers import WordPiece
from minilm.tokenizers.word_piece.characters import ALONE, IDEOGRAPH, LETTER, PAGES, SEVERAL, SPACE, Basic, Characters, parts_of

from .helpers import SPECIAL


def test_parts():
    everything, nothing = Basic(), Basic(False, False, False, False)
    assert parts_of(ord("É"), everything) == [(ord("e"), LETTER, 0)]
    assert parts_of(ord("É"), nothing) == [(ord("É"), LETTER, 0)]
    assert parts_of(0x0301, everything) == [] == parts_of(0x200B, everything)
    assert parts_of(0x130, Basic(strip_accents=False)) == [(ord("i"), LETTER, 0), (0x307, LETTER, 0)]
    assert parts_of(0xF900, everything) == [(0x8C48, IDEOGRAPH, 0)]  # an ideograph for compatibility, and what it stands for
    assert parts_of(0x37E, everything) == [(ord(";"), ALONE, 0)]  # the Greek question mark is a semicolon
    assert parts_of(0x0C, everything) == [] and parts_of(0x0C, nothing) == [(0x0C, SPACE, 0)]
    assert parts_of(0x1D165, everything) == [(0x1D165, LETTER, 216)]


def test_an_older_table_stays_as_it_was():
    """A thread that reads a table while another adds pages reads on undisturbed."""
    characters = Characters(Basic())
    for number in (1, 3, 172):
        before = characters.table
        used = characters._state[1]
        kept = [before.kind[:used].copy(), before.becomes[:used].copy(), before.page.copy()]
        characters.add_pages([number])
        for array, copy in zip([before.kind[:used], before.becomes[:used], before.page], kept, strict=True):
            np.testing.assert_array_equal(array, copy)
        assert before.page[number] == -1 and characters.table.page[number] >= 0
    table, entries, _ = characters._state
    characters.add_pages([0, 1])
    assert characters._state[1] == entries and np.array_equal(table.page, characters.table.page)
    entry = characters.table.page[172] * 256
    assert characters.table.kind[entry] == SEVERAL  # U+AC00 becomes two


def test_a_text_of_all_pages_from_many_threads():
    text = "".join(chr(page * 256 + 65) for page in range(PAGES) if not 0xD8 <= page <= 0xDF)
    wanted = WordPiece(SPECIAL).basic_tokens(text)
    shared, found = WordPiece(SPECIAL), []
    threads = [threading.Thread(target=lambda: found.append(shared.basic_tokens(text))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(each == wanted for each in found)
