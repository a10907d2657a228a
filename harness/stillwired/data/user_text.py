"""The user's own text: a .txt file, a .jsonl file, or a folder of .txt files.

Whatever cannot be meant as text is refused with the line or file that shows it; nothing is
skipped silently.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stillwired.data.document import Document
from stillwired.data.splits import CYCLE
from stillwired.errors import CorpusError

BLOCK_CHARACTERS = 4_000
"""Length to which the paragraphs of one .txt file are grouped into documents."""
LEAST_DOCUMENTS = 32
"""A quarter of the documents judge, and below 8 judged clusters nothing can hold."""
DOMAIN = "text"

_CONTROL_SHARE = 0.01


def _files(path: Path) -> list[Path]:
    """Return the files that a path stands for, in a fixed order."""
    if path.is_dir():
        files = sorted(file for file in path.glob("*.txt") if file.is_file())
        if not files:
            raise CorpusError(
                f"The folder {path} holds no .txt file. Put plain-text files into it, or name "
                "a .txt or .jsonl file."
            )
        return files
    if not path.exists():
        raise CorpusError(f"There is no file or folder {path}. Check the path.")
    if path.suffix.lower() not in (".txt", ".jsonl"):
        raise CorpusError(
            f"{path.name} is neither .txt nor .jsonl. Save the text as one of the two, or name "
            "a folder of .txt files."
        )
    return [path]


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CorpusError(
            f"{file} cannot be read: {error.strerror or error}. Check its permissions."
        ) from error


def _text_of(file: Path) -> str:
    """Return a file's text, refusing what is empty or not text."""
    data = _bytes_of(file)
    if not data.strip():
        raise CorpusError(f"{file} is empty. Put text into it, or leave it out.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{file} is not UTF-8 text: byte {error.start:,} cannot be decoded. Save it as "
            "UTF-8 (a binary file cannot be used)."
        ) from error
    controls = sum(character < " " and character not in "\n\r\t\f" for character in text)
    if "\x00" in text or controls > _CONTROL_SHARE * len(text):
        raise CorpusError(
            f"{file} holds binary data, not text: {controls:,} control characters. Name a "
            "plain-text file."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def fingerprint(path: Path) -> str:
    """Return a SHA-256 (hex) over the names and bytes of the text's files.

    Raises:
        CorpusError: If there is nothing to read at the path.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(json.dumps([file.name, file.suffix]).encode())
        digest.update(hashlib.sha256(_bytes_of(file)).digest())
    return digest.hexdigest()


def _split_long(paragraph: str, limit: int) -> list[str]:
    """Cut a paragraph into pieces of at most ``limit`` characters, at a line or a space."""
    pieces = []
    while len(paragraph) > limit:
        end = paragraph.rfind("\n", 1, limit + 1)
        if end < limit // 2:
            end = paragraph.rfind(" ", 1, limit + 1)
        if end < limit // 2:
            end = limit
        pieces.append(paragraph[:end].strip())
        paragraph = paragraph[end:].strip()
    return [piece for piece in [*pieces, paragraph] if piece]


def blocks(text: str, limit: int = BLOCK_CHARACTERS) -> list[str]:
    """Group the paragraphs of a text into blocks of about ``limit`` characters.

    Paragraphs are separated by blank lines and stay whole; one that is longer than the limit
    is cut at a line end or a space.
    """
    grouped: list[str] = []
    size = 0
    lines = [line.rstrip() for line in text.split("\n")]
    for paragraph in "\n".join(lines).split("\n\n"):
        for piece in _split_long(paragraph.strip("\n"), limit):
            if grouped and size + len(piece) + 2 <= limit:
                grouped[-1] += "\n\n" + piece
                size += len(piece) + 2
            else:
                grouped.append(piece)
                size = len(piece)
    return grouped


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from_jsonl(file: Path) -> list[Document]:
    documents: list[Document] = []
    lines_of: dict[str, int] = {}
    for number, line in enumerate(_text_of(file).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            entry = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CorpusError(
                f'{where}: not JSON ({error}). Write one object with a "text" on each line.'
            ) from error
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise CorpusError(
                f'{where}: no "text" of type string. Write one object with a "text" on each line.'
            )
        text = entry["text"].replace("\r\n", "\n").strip()
        if not text:
            raise CorpusError(f'{where}: "text" is empty. Put text into it, or remove the line.')
        domain = entry.get("domain", DOMAIN)
        identity = entry.get("id", str(number))
        if not isinstance(domain, str) or not domain:
            raise CorpusError(
                f'{where}: "domain" is not a non-empty string. Correct it or leave it out.'
            )
        if not isinstance(identity, (str, int)) or isinstance(identity, bool):
            raise CorpusError(
                f'{where}: "id" is neither a string nor a whole number. Correct it or leave it out.'
            )
        if any(not _is_unicode(part) for part in (text, domain, str(identity))):
            raise CorpusError(
                f"{where}: half of a surrogate pair, which is no character. Write the character "
                "itself, or both halves."
            )
        name = f"{domain}/{identity}"
        if name in lines_of:
            raise CorpusError(
                f"{where}: the id {identity!r} is already that of line {lines_of[name]}. Give "
                "every document its own."
            )
        lines_of[name] = number
        documents.append(Document(name, domain, text))
    return documents


def read_user_text(path: Path) -> list[Document]:
    """Return the documents of the user's text.

    A line of a .jsonl file and a file of a folder are documents; a single .txt file is cut
    into blocks of about 4,000 characters at blank lines.

    Raises:
        CorpusError: If a file is empty, not text or not what its ending says.
    """
    files = _files(path)
    if path.is_dir():
        return [Document(f"{DOMAIN}/{f.name}", DOMAIN, _text_of(f).strip()) for f in files]
    if path.suffix.lower() == ".jsonl":
        return _from_jsonl(path)
    return [
        Document(f"{DOMAIN}/{number:06d}", DOMAIN, block)
        for number, block in enumerate(blocks(_text_of(path)), 1)
    ]


def check_size(path: Path, documents: Sequence[Document], *, removed: int = 0) -> None:
    """Refuse a text with too few documents to be split.

    Args:
        path: Where the text came from.
        documents: Its documents, repetitions removed.
        removed: How many were repetitions.

    Raises:
        CorpusError: If there are fewer than 32 documents, or fewer than 20 in a domain.
    """
    aside = f" ({removed:,} more repeat an earlier one)" if removed else ""
    if len(documents) < LEAST_DOCUMENTS:
        raise CorpusError(
            f"{path} gives {len(documents)} document{'s' * (len(documents) != 1)}{aside}, but at "
            f"least {LEAST_DOCUMENTS} are needed: they are split into fit, choose and judge, and "
            "below 8 judged documents nothing can be decided. Add text; a single .txt file is "
            f"cut into documents of about {BLOCK_CHARACTERS:,} characters."
        )
    for domain, count in Counter(document.domain for document in documents).items():
        if count < CYCLE:
            raise CorpusError(
                f"The domain {domain!r} of {path} has {count} document{'s' * (count != 1)}"
                f"{aside}, but at least {CYCLE} are needed so that fit, choose and judge each get "
                "one. Add documents to it, or leave the domain labels out."
            )
